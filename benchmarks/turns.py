"""The turns that every contestant is given: the same ones, of about 2 KB."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

TURN_BYTES = 2048
_MOMENT = "2026-11-22T12:00:00.000000+00:00"
_WORDS = (
    "session",
    "turn",
    "answer",
    "question",
    "memory",
    "flow",
    "value",
    '"quoted"',
    "line\nbreak",
    "key",
    "agent",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, and both as one line of JSON: what the raw commands store.

    The answer begins with the turn's id, so that a lost one is noticed.
    """

    id: str
    timestamp: str
    question: str
    response: str
    duration_ms: int
    line: bytes


def turns(label: str, count: int, *, size: int = TURN_BYTES, start: int = 0) -> list[Turn]:
    """Turns number ``start`` and on, whose lines have about ``size`` bytes; the same label gives the same ones."""
    texts = _texts(size)
    return [_turn(f"turn-{label}-{place:06d}", *texts[place % len(texts)]) for place in range(start, start + count)]


def _turn(name: str, question: str, answer: str) -> Turn:
    fields: dict[str, Any] = {
        "id": name,
        "timestamp": _MOMENT,
        "question": question,
        "response": f"{name} {answer}",
        "duration_ms": 1234,
    }
    return Turn(**fields, line=json.dumps(fields, separators=(",", ":")).encode())


@cache
def _texts(size: int) -> list[tuple[str, str]]:
    """A few dozen questions and answers that come round again: making text must not cost a contestant time."""
    words = random.Random(size)  # noqa: S311  # the same texts in every run
    room = max(size - len(_turn("turn-of-a-session-000000", "", "").line), 16)
    return [(_text(words, room // 10), _text(words, room - room // 10)) for _ in range(64)]


def _text(words: random.Random, size: int) -> str:
    """Words whose JSON text has at most ``size`` bytes."""
    text = ""
    while len(json.dumps(longer := text + words.choice(_WORDS) + " ")) <= size:
        text = longer
    return text
