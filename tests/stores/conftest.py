"""The stores that the contract is run on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stores.worlds import MemoryWorld, RedisWorld, SqliteWorld, World, crowd, opened
from tests.support.servers import DATABASES, Kind, Server

CROWDED = DATABASES - 1  # the database that all tests of the contract share with the keys of others


@pytest.fixture(scope="session")
def crowded_redis(redis_server: Server) -> str:
    """A database on redis-server that holds tens of thousands of keys of others."""
    url = f"{redis_server.url}/{CROWDED}"
    crowd(url)
    return url


@pytest.fixture(scope="session")
def crowded_valkey(valkey_server: Server) -> str:
    """A database on Valkey that holds tens of thousands of keys of others."""
    url = f"{valkey_server.url}/{CROWDED}"
    crowd(url)
    return url


@pytest.fixture
async def crowded_world(kv_kind: Kind, request: pytest.FixtureRequest) -> AsyncIterator[RedisWorld]:
    """A Redis store of each kind of server, among the keys of others."""
    name = "crowded_redis" if kv_kind == "redis-server" else "crowded_valkey"
    made = RedisWorld(request.getfixturevalue(name))
    async with opened(made):
        yield made


@pytest.fixture(params=["memory", "sqlite", "redis-server", "valkey"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A store of each kind, empty, and what is around it."""
    made: World
    match request.param:
        case "memory":
            made = MemoryWorld()
        case "sqlite":
            made = SqliteWorld(tmp_path / "state" / "flywheel.db")
        case kind:
            name = "crowded_redis" if kind == "redis-server" else "crowded_valkey"
            made = RedisWorld(request.getfixturevalue(name))
    async with opened(made):
        yield made


@pytest.fixture
async def redis_world(kv_url: str) -> AsyncIterator[RedisWorld]:
    """A Redis store of each kind of server, alone in its database."""
    made = RedisWorld(kv_url)
    async with opened(made):
        yield made
