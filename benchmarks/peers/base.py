"""What a contestant has to do. Adapters are thin: they call the library's public API and nothing else.

Only the standard library is imported here, since each library runs in an environment of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ..turns import Turn

POOL = 1000  # connections; no peer shall fail because its pool is smaller than the crowd


class Conversation(Protocol):
    """One session, opened for writing and reading. What takes place in each method is what is timed."""

    async def save(self, turn: Turn) -> None:
        """Add one turn; return when the store has acknowledged it."""

    async def load_all(self) -> Any:
        """The whole session, read from the store anew."""

    async def load_last(self, count: int) -> Any:
        """The session, or its messages, with the last ``count`` turns, read from the store anew."""

    def answers(self, loaded: Any) -> Sequence[str]:
        """The answer of each turn in what was loaded, oldest first; reads every turn."""


class Contestant(Protocol):
    """A library that keeps sessions."""

    async def start(self) -> None:
        """Connect; raise if the library cannot work with this server."""

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """Make a session with these turns, on the fastest way that the public API has. Not timed."""

    async def open(self, session_id: str) -> Conversation:
        """A session to go on with; one that is not there is new. Not timed."""

    async def settled(self) -> int:
        """Wait until all that was accepted is in the store; how many turns since the last time were not at once.

        Most libraries have none such: a save that returns is stored.
        """
        return 0

    async def close(self) -> None:
        """Close files and connections."""


class Make(Protocol):
    """How a contestant is made: with the server's URL and a folder for files."""

    def __call__(self, url: str, folder: Path) -> Contestant:
        """The contestant; nothing is connected yet."""


def pooled(url: str) -> str:
    """The URL with a pool that is large enough for the crowd."""
    return f"{url}?max_connections={POOL}"


def as_messages(turn: Turn) -> list[dict[str, str]]:
    """A turn as the two messages that chat libraries keep."""
    return [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.response}]


def answers_of_lines(lines: Sequence[bytes]) -> list[str]:
    """The answers in turns as `Turn.line` has them."""
    return [json.loads(line)["response"] for line in lines]
