"""Each store with what a test of the contract needs around it: further openings, and time that can pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis.asyncio

from agentic_flywheel.stores import Store
from agentic_flywheel.stores.memory import MemoryStore
from agentic_flywheel.stores.redis_store import RedisStore
from agentic_flywheel.stores.sqlite_store import SqliteStore

FOREIGN_KEYS = 30_000
BATCH = 5_000


class Clock:
    """Seconds since 1970 that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_760_000_000.0

    def __call__(self) -> float:
        return self.now


class World(ABC):
    """A place where sessions are kept, the store that looks at it, and its time."""

    def __init__(self) -> None:
        self._opened: list[Store] = []
        self.store = self.open()

    @abstractmethod
    def _open(self) -> Store: ...

    @abstractmethod
    async def wait(self, seconds: int) -> None:
        """Let time pass for everything that is stored, without waiting for it."""

    def open(self) -> Store:
        """A store object that looks at the same place as `store`."""
        store = self._open()
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


class MemoryWorld(World):
    """Memory is one place for one store object only: opening it again gives the same one."""

    def __init__(self) -> None:
        self._clock = Clock()
        self._store = MemoryStore(clock=self._clock)
        super().__init__()

    def _open(self) -> Store:
        return self._store

    async def wait(self, seconds: int) -> None:
        self._clock.now += seconds


class SqliteWorld(World):
    """A file."""

    def __init__(self, path: Path) -> None:
        self._clock = Clock()
        self._path = path
        super().__init__()

    def _open(self) -> Store:
        return SqliteStore(self._path, clock=self._clock)

    async def wait(self, seconds: int) -> None:
        self._clock.now += seconds


class RedisWorld(World):
    """A prefix of its own in a database that others fill with their keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"test-{uuid4().hex}"
        self._clock = Clock()
        self.raw = self._client()
        super().__init__()

    def _client(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(self.url)

    def _open(self) -> Store:
        return RedisStore(self.url, prefix=self.prefix, clock=self._clock)

    async def wait(self, seconds: int) -> None:
        """Take the seconds off what our keys have left to live."""
        self._clock.now += seconds
        async for key in self.raw.scan_iter(match=f"{self.prefix}:*", count=BATCH):
            left = await self.raw.pttl(key)
            if left > 0:
                await self.raw.pexpire(key, left - seconds * 1000)  # no time left: it is deleted

    async def close(self) -> None:
        await super().close()
        await self.raw.aclose()


class ClusterWorld(RedisWorld):
    """A prefix of its own in a cluster."""

    def _client(self) -> Any:
        return redis.asyncio.RedisCluster.from_url(self.url.replace("redis+cluster", "redis").partition(",")[0])


def world_of(kind: str, folder: Path, database: Callable[[str], str]) -> World:
    """A world of a kind, empty; ``database`` gives the URL of one on the server of a fixture."""
    match kind:
        case "memory":
            return MemoryWorld()
        case "sqlite":
            return SqliteWorld(folder / "state" / "flywheel.db")
        case "cluster":
            return ClusterWorld(database("redis_cluster"))
        case _:
            return RedisWorld(database("redis_server" if kind == "redis-server" else "valkey_server"))


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[World]:
    """The world, closed at the end."""
    try:
        yield world
    finally:
        await world.close()


def crowd(url: str) -> None:
    """Fill a database with keys of others, of every common type, some of which look like ours."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipeline:
        for number in range(0, FOREIGN_KEYS, 6):
            pipeline.set(f"agentic_flywheel:session:{number}", '{"backend":"flowise","history":[]}')
            pipeline.set(f"cache:{number}", b"\x00\xff" * 8)
            pipeline.rpush(f"agentic_flywheel:history:{number}:flow", "one", "two")
            pipeline.hset(f"test-session:{number}", "field", "value")
            pipeline.sadd(f"test-:session:{number}", "member")
            pipeline.zadd(f"other:index:{number}", {"member": number})
        pipeline.execute()
