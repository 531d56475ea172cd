"""A session document in the parts that stores keep: head, moment of last use, turn lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput
from ..jsontext import decode, encode
from .model import BOOKKEEPING, turns_of

_PLAIN_MOMENT = re.compile(r"[0-9A-Za-z:.+-]{1,40}")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a store keeps of a session document.

    ``head`` is one JSON object: the document without its history, ``metadata`` first. What nearly every
    turn changes, ``metadata.last_active``, is kept apart as ``last_active`` (unless it is no plain moment,
    then it stays where it was), so that such a turn need not write the head again.
    """

    head: bytes
    last_active: str | None
    lines: list[bytes]


def pack_head(head: dict[str, Any]) -> tuple[bytes, str | None]:
    """The head as bytes, and its ``metadata.last_active`` apart; it takes what it is given apart."""
    metadata = head.pop("metadata", None) or {}
    last_active = metadata.get("last_active")
    if is_plain_moment(last_active):
        del metadata["last_active"]
    else:
        last_active = None
    return encode({"metadata": metadata, **head}), last_active


def is_plain_moment(value: object) -> bool:
    """Whether a value looks like a moment, so that it is kept apart from the head."""
    return isinstance(value, str) and _PLAIN_MOMENT.fullmatch(value) is not None


def unpack_head(head: bytes, last_active: str | None) -> dict[str, Any]:
    """The head that `pack_head` was given."""
    values: dict[str, Any] = decode(head)
    if last_active is not None:
        values["metadata"]["last_active"] = last_active
    return values


def take_apart(document: Any) -> Parts:
    """The parts of a decoded document, whoever wrote it.

    Raises:
        BadInput: it is no object, or its history is no list of objects, or its metadata is no object.
    """
    if not isinstance(document, dict):
        raise BadInput(f"is {type(document).__name__}, not an object")
    history, metadata = turns_of(document), document.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise BadInput("metadata: is not an object")
    head, last_active = pack_head(_without(document, "history", *BOOKKEEPING))
    return Parts(head, last_active, [encode(turn) for turn in history])


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
