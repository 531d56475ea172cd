"""The stores that the contract is run on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentic_flywheel.stores import redis_watch
from tests.stores.worlds import RedisWorld, World, crowd, opened, world_of
from tests.support.replicated import Cluster
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


@pytest.fixture(params=["memory", "sqlite", "redis-server", "redis-server, as large", "valkey", "cluster"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A store of each kind, empty, and what is around it; on one Redis server among the keys of others.

    On one Redis, all is written as if it was large.
    """
    kind, _, as_large = request.param.partition(", ")
    if as_large:
        monkeypatch.setattr(redis_watch, "LARGE", 0)

    def crowded(server: str) -> str:
        if server == "redis_cluster":
            cluster: Cluster = request.getfixturevalue(server)
            return cluster.url()
        url: str = request.getfixturevalue("crowded_redis" if server == "redis_server" else "crowded_valkey")
        return url

    async with opened(world_of(kind, tmp_path, crowded)) as made:
        yield made


@pytest.fixture(params=["redis-server", "valkey", "cluster"])
async def each_redis(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RedisWorld]:
    """A store on each kind of Redis."""

    def place(server: str) -> str:
        found: Server | Cluster = request.getfixturevalue(server)
        return found.url() if isinstance(found, Cluster) else found.url

    made = world_of(request.param, tmp_path, place)
    assert isinstance(made, RedisWorld)
    async with opened(made):
        yield made
