"""The floor: bare awaited commands of the Redis client, with bytes that were made beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis.asyncio

from ..turns import TURN_BYTES, Turn
from .base import Contestant, Conversation, answers_of_lines, pooled


class RawList(Contestant):
    """A session is a list: RPUSH, LRANGE, one awaited call each on a pool."""

    def __init__(self, url: str, folder: Path) -> None:
        self.client: Any = redis.asyncio.Redis.from_url(pooled(url))

    async def start(self) -> None:
        """Connect."""
        await self.client.ping()

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """Push all at once."""
        await self.client.rpush(session_id, *(turn.line for turn in turns))

    async def open(self, session_id: str) -> Conversation:
        """Nothing is to be opened."""
        return RawListConversation(self.client, session_id)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


class RawListConversation(Conversation):
    """One list."""

    def __init__(self, client: Any, key: str) -> None:
        self.client, self.key = client, key

    async def save(self, turn: Turn) -> None:
        """RPUSH."""
        await self.client.rpush(self.key, turn.line)

    async def load_all(self) -> Any:
        """LRANGE from the first to the last."""
        return await self.client.lrange(self.key, 0, -1)

    async def load_last(self, count: int) -> Any:
        """LRANGE of the last ones."""
        return await self.client.lrange(self.key, -count, -1)

    def answers(self, loaded: Any) -> Sequence[str]:
        """Parse each line."""
        return answers_of_lines(loaded)


class RawString(RawList):
    """A session is a string with a turn a line: APPEND, GET, GETRANGE."""

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """Set all at once."""
        await self.client.set(session_id, b"".join(turn.line + b"\n" for turn in turns))

    async def open(self, session_id: str) -> Conversation:
        """Nothing is to be opened."""
        return RawStringConversation(self.client, session_id)


class RawStringConversation(RawListConversation):
    """One string."""

    async def save(self, turn: Turn) -> None:
        """APPEND."""
        await self.client.append(self.key, turn.line + b"\n")

    async def load_all(self) -> Any:
        """GET."""
        return await self.client.get(self.key)

    async def load_last(self, count: int) -> Any:
        """GETRANGE of as many bytes as so many turns have, and one turn more."""
        return await self.client.getrange(self.key, -(count + 1) * TURN_BYTES, -1)

    def answers(self, loaded: Any) -> Sequence[str]:
        """Parse each line, but for a piece of one at the beginning."""
        return answers_of_lines([line for line in loaded.split(b"\n") if line.startswith(b"{")])
