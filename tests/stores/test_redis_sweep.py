"""What has expired leaves the index of sessions, also where nobody lists."""

from __future__ import annotations

import asyncio
import logging

import pytest
from redis import Redis

from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.names import name_of
from agentic_flywheel.stores.redis_store import RedisStore
from agentic_flywheel.stores.redis_sweep import EVERY, SAMPLE
from tests.docs.acl import PASSWORD, on_a_server
from tests.resilience.outage import until
from tests.stores.sessions import create
from tests.stores.worlds import RedisWorld
from tests.support.servers import Server

ANNA, BEN = principal_of(None, "anna"), principal_of(None, "ben")
OWNERS = pytest.mark.parametrize("owner", ["", ANNA], ids=["nobody", "anna"])


@pytest.fixture
def world(each_redis: RedisWorld) -> RedisWorld:
    return each_redis


async def begin(world: RedisWorld, owner: str, names: range, *, ttl: int = 0) -> None:
    store = world.store
    await asyncio.gather(*(create(store, name_of(owner, f"s{number}"), ttl=ttl) for number in names))


async def indexed(world: RedisWorld, owner: str) -> int:
    """How many sessions the index names."""
    number: int = await world.raw.zcard(f"{world.prefix}:index:{owner}" if owner else f"{world.prefix}:index")
    return number


@OWNERS
async def test_beginning_sessions_takes_out_what_expired(world: RedisWorld, owner: str) -> None:
    """Most of it, whoever it was that began them; all that is there stays, and nobody listed anything."""
    await begin(world, owner, range(400), ttl=100)
    await begin(world, owner, range(400, 440))
    await begin(world, BEN, range(10))
    await world.wait(101)
    assert await indexed(world, owner) == 440
    await begin(world, owner, range(440, 440 + EVERY))
    there = 40 + EVERY

    async def is_small() -> bool:
        return await indexed(world, owner) <= 2 * there

    await until(is_small)
    listed = await world.store.recent(1000, owner)
    assert len(listed) == there
    assert await indexed(world, BEN) == 10


async def test_what_is_gone_stays_a_small_part(world: RedisWorld) -> None:
    """Where as many sessions expire as are begun, the index does not grow."""
    for first in range(0, 20 * SAMPLE, SAMPLE):
        await begin(world, ANNA, range(first, first + SAMPLE), ttl=100)
        await world.wait(101)
    assert await indexed(world, ANNA) <= 4 * SAMPLE


async def test_what_is_just_begun_stays(world: RedisWorld) -> None:
    """Whoever looks at that very moment finds it there, also where Redis knows no script of ours yet."""

    other = world.open()

    async def look() -> None:
        while True:
            await other.count(ANNA, 1)

    looking = asyncio.create_task(look())
    await begin(world, ANNA, range(1000))
    looking.cancel()
    await asyncio.wait((looking,))
    assert await indexed(world, ANNA) == 1000


async def test_reindexing_looks_at_every_owner(world: RedisWorld) -> None:
    """Also at those who do not come back: nothing is left of their indexes; what others put beside them stays."""
    await begin(world, ANNA, range(SAMPLE), ttl=100)
    await begin(world, "", range(2), ttl=100)
    await begin(world, BEN, range(3))
    await world.raw.set(f"{world.prefix}:index:of another program", "x")
    await world.wait(101)
    assert await world.store.reindex() == 3
    assert [await indexed(world, owner) for owner in ("", ANNA, BEN)] == [0, 0, 3]


async def test_counting_leaves_out_what_expired(world: RedisWorld) -> None:
    """Where there may be enough."""
    await begin(world, ANNA, range(5), ttl=100)
    await begin(world, ANNA, range(5, 8))
    await world.wait(101)
    assert await world.store.count(ANNA, 100) == 8
    assert await world.store.count(ANNA, 8) == 3
    assert await indexed(world, ANNA) == 3


async def test_closing_ends_it(redis_world: RedisWorld) -> None:
    """At once, and the store may be used again."""
    await begin(redis_world, "", range(1000), ttl=100)
    await redis_world.wait(101)
    before = asyncio.all_tasks()
    await begin(redis_world, "", range(1000, 1000 + EVERY))
    await redis_world.store.close()
    assert asyncio.all_tasks() <= before
    await begin(redis_world, "", range(2000, 2000 + EVERY))


async def test_without_the_right_sessions_are_begun_all_the_same(
    kv_server: Server, redis_world: RedisWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """What went wrong beside them is logged, without a name of theirs."""
    caplog.set_level(logging.INFO)
    words = [word for word in on_a_server() if word != "+zrandmember"]
    with Redis.from_url(kv_server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "poor", *words, f"~{redis_world.prefix}:*")
    store = RedisStore(kv_server.url.replace("//", f"//poor:{PASSWORD}@"), prefix=redis_world.prefix)

    async def is_logged() -> bool:
        return "stays in the index for now" in caplog.text

    for number in range(EVERY):
        await create(store, f"s{number}")
    await until(is_logged)
    await store.close()
    with Redis.from_url(kv_server.url) as admin:
        admin.acl_deluser("poor")
