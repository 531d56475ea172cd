"""Entries of a flow's history, as every store gives them."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import Damaged
from ..jsontext import decode


def newest_of_each(entries: Iterable[bytes]) -> list[bytes]:
    """The entries in order of their first appearance, each id once, with what was written of it last.

    What others wrote without an id that is text is kept as it is.

    Raises:
        Damaged: an entry is not JSON.
    """
    newest: dict[str | bytes, bytes] = {}
    for entry in entries:
        newest[_name_of(entry)] = entry
    return list(newest.values())


def _name_of(entry: bytes) -> str | bytes:
    try:
        value = decode(entry)
    except ValueError as error:
        raise Damaged(f"holds an entry that is not JSON: {error}") from error
    name = value.get("id") if isinstance(value, dict) else None
    return name if isinstance(name, str) else entry
