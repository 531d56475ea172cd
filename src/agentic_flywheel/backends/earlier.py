"""What was said earlier, for a server that does not know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..jsontext import encode
from ..session import Turn
from ..session.values import plain
from .base import Message

_BEGIN = "[What was said earlier in this conversation:]"
_END = "[End of what was said earlier. Now:]"
_SPEAKER = {"user": "User", "assistant": "Assistant"}


def messages_of(turns: Sequence[Turn]) -> list[Message]:
    """The messages of turns, oldest first: a question and an answer each, or the one that a foreign turn holds."""
    messages = []
    for turn in turns:
        if "role" in turn and "content" in turn:
            role = "user" if turn["role"] in ("user", "human") else "assistant"
            said: list[tuple[Any, Any]] = [(role, turn["content"])]
        else:
            said = [("user", turn.question), ("assistant", turn.response)]
        messages += [Message(role, _text(value), turn.timestamp) for role, value in said if value is not None]
    return messages


def with_preface(turns: Sequence[Turn], question: str) -> str:
    """A question behind all that was said before it, marked as such."""
    lines = [f"{_SPEAKER[message.role]}: {message.text}" for message in messages_of(turns)]
    return "\n".join([_BEGIN, *lines, _END, question])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode(plain(value, "turn")).decode()
