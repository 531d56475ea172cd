"""openai-agents: `RedisSession` (a list) and `SQLiteSession` (a row an item)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..turns import Turn
from .base import Contestant, Conversation, as_messages, pooled


class OpenAiRedis(Contestant):
    """`RedisSession` objects that share one client."""

    def __init__(self, url: str, folder: Path) -> None:
        self.client: Any = import_module("redis.asyncio").Redis.from_url(pooled(url))
        self.session = import_module("agents.extensions.memory").RedisSession

    async def start(self) -> None:
        """Connect."""
        await self.client.ping()

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """All items in one call."""
        await self.session(session_id, redis_client=self.client).add_items(_items(turns))

    async def open(self, session_id: str) -> Conversation:
        """A session object; it reads nothing before it is asked."""
        return OpenAiConversation(self.session(session_id, redis_client=self.client))

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


class OpenAiSqlite(Contestant):
    """`SQLiteSession` objects on one file."""

    def __init__(self, url: str, folder: Path) -> None:
        self.path = folder / "openai.db"
        self.session = import_module("agents").SQLiteSession
        self.opened: list[Any] = []

    async def start(self) -> None:
        """Make the file."""
        await self._open("start").get_items(limit=1)

    def _open(self, session_id: str) -> Any:
        session = self.session(session_id, self.path)
        self.opened.append(session)
        return session

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """All items in one call."""
        await self._open(session_id).add_items(_items(turns))

    async def open(self, session_id: str) -> Conversation:
        """A session object with a connection of its own, which is made now."""
        session = self._open(session_id)
        await session.get_items(limit=1)
        return OpenAiConversation(session)

    async def close(self) -> None:
        """Close each session's connection."""
        for session in self.opened:
            session.close()


class OpenAiConversation(Conversation):
    """One session object; a turn is a user's and an assistant's item."""

    def __init__(self, session: Any) -> None:
        self.session = session

    async def save(self, turn: Turn) -> None:
        """Add both items in one call."""
        await self.session.add_items(as_messages(turn))

    async def load_all(self) -> Any:
        """All items."""
        return await self.session.get_items()

    async def load_last(self, count: int) -> Any:
        """The last items."""
        return await self.session.get_items(limit=2 * count)

    def answers(self, loaded: Any) -> Sequence[str]:
        """They are parsed already."""
        return [item["content"] for item in loaded if item["role"] == "assistant"]


def _items(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [item for turn in turns for item in as_messages(turn)]
