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


def told_in_text(turns: Sequence[Turn]) -> str:
    """Turns as they are told before a question."""
    return "\n".join(f"{_SPEAKER[message.role]}: {message.text}" for message in messages_of(turns))


def with_preface(turns: Sequence[Turn], question: str) -> str:
    """A question behind all that was said before it, marked as such; without turns, the question alone."""
    return "\n".join([_BEGIN, told_in_text(turns), _END, question]) if turns else question


def asked(text: str, timestamp: str | None) -> Message:
    """A user's message as a server keeps it: the question, and apart from it what was told before it."""
    told, end, question = text.rpartition(f"\n{_END}\n")
    if not (end and told.startswith(_BEGIN)):
        return Message("user", text, timestamp)
    return Message("user", question, timestamp, told)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encode(plain(value, "turn")).decode()
