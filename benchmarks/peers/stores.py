"""Our store by itself: the same appends of lines that were made beforehand, carried to Redis in two ways.

What the two differ in is what sharing pipelines gives, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import redis.asyncio
from redis.exceptions import RedisError

from agentic_flywheel.stores import Change, Mark
from agentic_flywheel.stores.base import new_version
from agentic_flywheel.stores.redis_lane import Command
from agentic_flywheel.stores.redis_pipe import Carrier
from agentic_flywheel.stores.redis_store import RedisStore

from ..turns import Turn
from .base import Contestant, Conversation, pooled

HEAD = b'{"metadata":{"created_at":"2026-11-22T12:00:00Z"},"schema":1,"backend":"custom","context":{}}'
MOMENT = "2026-11-22T12:00:00Z"
WEEK = 7 * 24 * 3600
LIMIT = 256 * 1024**2  # bytes


class OnAPool(Carrier):
    """Each command is one awaited call of the client library's on a pool."""

    is_one_server = True

    def __init__(self, url: str) -> None:
        self._client: Any = redis.asyncio.Redis.from_url(pooled(url))

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """One call after the other."""
        return [await self._call(command) for command in commands]

    async def _call(self, command: Command) -> Any:
        try:
            return await self._client.execute_command(*command)
        except RedisError as error:
            return error

    async def steps(self, *stages: Sequence[Command]) -> list[Any]:
        """The same."""
        return await self.run([command for stage in stages for command in stage])

    async def servers(self) -> list[Carrier]:
        """There is one."""
        return [self]

    def watching(self, key: str) -> NoReturn:
        """What is written here is never as large."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class SharedPipelines(Contestant):
    """As the package does it: what is ready at the same moment goes together."""

    def __init__(self, url: str, folder: Path) -> None:
        self.store = RedisStore(url)

    async def start(self) -> None:
        """Connect."""
        await self.store.check()

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """One after the other."""
        conversation = await self.open(session_id)
        for turn in turns:
            await conversation.save(turn)

    async def open(self, session_id: str) -> StoredConversation:
        """A session with nothing in it."""
        conversation = StoredConversation(self.store, session_id)
        await conversation.begin()
        return conversation

    async def settled(self) -> int:
        """All was stored when it was answered."""
        return 0

    async def close(self) -> None:
        """Close the store."""
        await self.store.close()


class SingleCalls(SharedPipelines):
    """One awaited call each on a pool."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder)
        self.scripts = self.store
        self.store = RedisStore(url, carrier=OnAPool(url))

    async def start(self) -> None:
        """Connect; the scripts are loaded by a store that does so."""
        warm = StoredConversation(self.scripts, "scripts")
        await warm.begin()
        await self.scripts.close()


class StoredConversation(Conversation):
    """A session as the store has it."""

    def __init__(self, store: RedisStore, session_id: str) -> None:
        self.store, self.session_id = store, session_id
        self.mark: Mark | None = None

    async def begin(self) -> None:
        """Create it, and append to it once, so that both scripts are there."""
        await self._write(b'{"id":"first"}')
        await self._write(b'{"id":"second"}')

    async def save(self, turn: Turn) -> None:
        """Append its line."""
        await self._write(turn.line)

    async def _write(self, line: bytes) -> None:
        base_head = None if self.mark is None else HEAD
        change = Change(
            self.session_id, self.mark, base_head, HEAD, MOMENT, added=[line], ttl=WEEK, version=new_version()
        )
        self.mark = await self.store.write(change, limit=LIMIT)

    async def load_all(self) -> Any:
        """All lines."""
        return await self.store.read(self.session_id)

    async def load_last(self, count: int) -> Any:
        """The last lines."""
        return await self.store.read(self.session_id, last=count)

    def answers(self, loaded: Any) -> Sequence[str]:
        """Not asked for: only crowds are timed."""
        raise NotImplementedError
