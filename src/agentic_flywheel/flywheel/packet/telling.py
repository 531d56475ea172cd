"""Values and turns as people read them: word for word, in one line, or as much as is needed of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from ...jsontext import encode, sendable
from ...session import Turn
from ...session.times import parse_time
from ...session.values import plain
from .tokens import LIGHTEST, SIXTHS, longest, weight

EXCERPT = 16 * SIXTHS
"""What the beginning of a question, or of an answer, weighs at most in a line; about 40 characters of English."""


def told(turn: Mapping[str, Any]) -> str:
    """A turn in JSON types word for word: when, its id, what was asked, who answered what; others as their JSON."""
    if "question" not in turn and "response" not in turn:  # others write turns of another shape
        return as_text(turn)
    answered_by = as_text(turn.get("flow_id") or "the answer")
    question, response = as_text(turn.get("question")), as_text(turn.get("response"))
    turn_id = turn.get("id")
    named = f" {turn_id}" if isinstance(turn_id, str) else ""
    return f"[{moment(turn.get('timestamp'))}{named}] question: {question}\n{answered_by}: {response}"


def line_of(turn: Turn) -> str:
    """A turn in one line: when, who answered, the beginnings of question and answer.

    What does not fit into the line is not looked at, so that a turn of megabytes costs no more than a short one.
    """
    when = minute(turn.timestamp)
    if turn.question is None and turn.response is None:
        said = excerpt(dict(turn), 2 * EXCERPT)
    else:
        flow = f"{excerpt(turn.flow_id, EXCERPT)}: " if turn.flow_id else ""
        said = f"{flow}{excerpt(turn.question, EXCERPT)} -> {excerpt(turn.response, EXCERPT)}"
    return f"{when} {said}" if when else said


def excerpt(value: Any, room: int) -> str:
    """The beginning of a value in one line, of at most so much weight; with an ellipsis where it was cut."""
    most = room // LIGHTEST
    beginning = opening(value, most)
    text = " ".join(sendable(beginning[:most]).split())
    if len(beginning) <= most and weight(text.encode()) <= room:
        return text
    return (longest(text, room, lambda part: weight(f"{part}…".encode())) or text[:1]) + "…"


def opening(value: Any, most: int) -> str:
    """A session value as text, or its beginning: more than ``most`` characters where it has more.

    Text is given as it is, anything else as its JSON. No more of the value is looked at than is given, so that
    megabytes cost no more than a line.
    """
    if isinstance(value, str):
        return value[: most + 1]
    parts: list[str] = []
    for part in _json(value, most):
        parts.append(part)
        most -= len(part)
        if most < 0:
            break
    return "".join(parts)


def _json(value: Any, most: int) -> Iterator[str]:
    if isinstance(value, dict):
        for place, (key, item) in enumerate(value.items()):
            yield f"{',' if place else '{'}{_leaf(key, most)}:"
            yield from _json(item, most)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield "," if place else "["
            yield from _json(item, most)
        yield "]" if value else "[]"
    else:
        yield _leaf(value, most)


def _leaf(value: Any, most: int) -> str:
    return encode(value[: most + 1] if isinstance(value, str) else plain(value, "value")).decode()


def minute(timestamp: object) -> str | None:
    """The moment of a timestamp as ``2025-11-18 10:00``, in UTC; None where it names none."""
    when = parse_time(timestamp)
    if when is None:
        return None
    try:
        return when.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "minutes")
    except OverflowError:  # the first and the last day that there are, seen from another zone
        return None


def moment(timestamp: Any) -> str:
    """The moment of a timestamp, to the minute; what names none, as it is."""
    return minute(timestamp) or as_text(timestamp)


def as_text(value: Any) -> str:
    """A JSON value as text: text as it is, anything else as its JSON."""
    return value if isinstance(value, str) else encode(value).decode()
