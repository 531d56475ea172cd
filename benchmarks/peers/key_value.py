"""py-key-value-aio: its Redis store, read, changed and written as FastMCP's sessions do."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..turns import Turn
from .base import Contestant, Conversation, as_messages, pooled

COLLECTION = "sessions"
DAY = 24 * 3600


class KeyValue(Contestant):
    """One store for all sessions."""

    def __init__(self, url: str, folder: Path) -> None:
        client = import_module("redis.asyncio").Redis.from_url(pooled(url), decode_responses=True)
        self.store: Any = import_module("key_value.aio.stores.redis").RedisStore(client=client)

    async def start(self) -> None:
        """Connect."""
        await self.store.get("start", collection=COLLECTION)

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """One write."""
        state = {"turns": [as_messages(turn) for turn in turns]}
        await self.store.put(session_id, state, collection=COLLECTION, ttl=DAY)

    async def open(self, session_id: str) -> Conversation:
        """Nothing is kept between calls."""
        return KeyValueConversation(self.store, session_id)

    async def close(self) -> None:
        """Close the store."""
        await self.store.close()


class KeyValueConversation(Conversation):
    """One value."""

    def __init__(self, store: Any, key: str) -> None:
        self.store, self.key = store, key

    async def save(self, turn: Turn) -> None:
        """Read the value, add the turn, write the value."""
        state = await self.store.get(self.key, collection=COLLECTION) or {"turns": []}
        state["turns"].append(as_messages(turn))
        await self.store.put(self.key, state, collection=COLLECTION, ttl=DAY)

    async def load_all(self) -> Any:
        """The value."""
        return (await self.store.get(self.key, collection=COLLECTION))["turns"]

    async def load_last(self, count: int) -> Any:
        """The value, of which the last turns are kept: there is no other way."""
        return (await self.load_all())[-count:]

    def answers(self, loaded: Any) -> Sequence[str]:
        """They are parsed already."""
        return [messages[1]["content"] for messages in loaded]
