"""What of a kind of state would be lost where it is stored: it would be masked there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ...errors import BadInput
from ...jsontext import encode
from ...secrecy import Mask
from .forms import Codec


def refuse_losses(codec: Codec, mask: Mask) -> None:
    """Keep from beginning with a state of which some fields would not come back.

    Raises:
        BadInput: it has such fields; names them, and says what to do.
    """
    if problem := _problem(codec, mask):
        raise BadInput(problem)


def refuse_loss(codec: Codec, dumped: Any, mask: Mask) -> None:
    """The same for what a state holds: in a field that is not declared, or that looks like a well-known key.

    Raises:
        BadInput: with what is masked in it, it could not be loaded again; says which field.
    """
    fields = {codec.key: dumped}
    masked = mask.fields(fields)
    if masked is fields or masked == fields:
        return
    if faults := codec.faults_of(masked[codec.key]):
        raise BadInput(
            f"the state {codec.name} was not saved: what looks like a credential in it is masked where it is "
            f"stored, and could not be loaded again: {faults}. Keep that elsewhere, or exempt its name by the "
            "setting secrets.keep"
        )


@lru_cache(maxsize=256)
def _problem(codec: Codec, mask: Mask) -> str | None:
    cannot = f"the state {codec.name} cannot be kept:"
    if mask.hides(codec.key):
        return (
            f"{cannot} by its name it looks like a credential, and all that it holds would be masked where it is "
            f'stored. Rename the class, or exempt it in the settings: secrets.keep = ["{codec.key}"]'
        )
    fields = list(_fields(codec))
    if hidden := [field for field, schema in fields if mask.hides(field) and not _is_flag(schema)]:
        return (
            f"{cannot} by their names these fields look like credentials, and what they hold would be masked where "
            f"it is stored: {', '.join(hidden)}. Rename them, keep such values elsewhere, or exempt the names in "
            f"the settings: secrets.keep = {encode(hidden).decode()}"
        )
    if secret := [field for field, schema in fields if b'"writeOnly":true' in encode(schema)]:
        return (
            f"{cannot} these fields are of a type that shows nobody what it holds, and would be stored as "
            f"asterisks: {', '.join(secret)}. Keep such values elsewhere"
        )
    return None


def _fields(codec: Codec) -> Iterator[tuple[str, Any]]:
    """The declared fields of a state, and of what it consists of, with their JSON schemas."""
    schema = codec.schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        yield from part.get("properties", {}).items()


def _is_flag(schema: Any) -> bool:
    """Whether a field holds only what is never masked."""
    kinds = schema.get("anyOf", [schema])
    return all(kind.get("type") in ("boolean", "null") for kind in kinds)
