"""A large session that is written whole: put beside, then given its name, so that Redis serves others meanwhile."""

from __future__ import annotations

import pytest

from agentic_flywheel.errors import Conflict, Fenced
from agentic_flywheel.stores import Mark
from agentic_flywheel.stores.names import name_of
from agentic_flywheel.stores.redis_writing import LARGE
from tests.stores.sessions import LIMIT, create, following, found, line
from tests.stores.worlds import RedisWorld

OLD, NEW = [line(number, LARGE // 4) for number in range(4)], [line(number, LARGE // 4) for number in range(10, 14)]


@pytest.fixture
def world(each_redis: RedisWorld) -> RedisWorld:
    return each_redis


async def left_behind(world: RedisWorld) -> list[bytes]:
    return [key async for key in world.raw.scan_iter(match=f"{world.prefix}:written:*")]


@pytest.mark.parametrize("session_id", ["s", name_of("0" * 32, "s"), "{odd}:*"])
@pytest.mark.parametrize("ttl", [0, 100])
async def test_it_is_there_with_its_time_to_live(world: RedisWorld, session_id: str, ttl: int) -> None:
    """Created as well as replaced; it goes on by appends, and nothing is left beside it."""
    change, mark = await create(world.store, session_id, added=OLD, ttl=ttl)
    assert (await found(world.store, session_id)).lines == OLD
    rewrite = following(change, mark, history=NEW)
    mark = await world.store.write(rewrite, limit=LIMIT)
    await world.store.write(following(rewrite, mark, 20), limit=LIMIT)
    assert (await found(world.store, session_id)).lines == [*NEW, line(20)]
    (key,) = [key async for key in world.raw.scan_iter(match=f"{world.prefix}:session:*")]
    assert await world.raw.ttl(key) in ((-1,) if not ttl else range(1, ttl + 1))
    assert await left_behind(world) == []


async def test_it_does_not_go_through_a_script(redis_world: RedisWorld) -> None:
    """Which would copy it, and hold Redis up for so long; a small one does."""
    for size, renamed in ((10, 0), (LARGE, 1)):
        await redis_world.raw.config_resetstat()
        await create(redis_world.store, f"s{size}", added=[line(1, size)])
        commands = await redis_world.raw.info("commandstats")
        assert commands.get("cmdstat_rename", {"calls": 0})["calls"] == renamed


async def test_what_is_refused_leaves_nothing(world: RedisWorld) -> None:
    """Neither in the session's place nor beside it: written by others meanwhile, or under a claim that is over."""
    change, mark = await create(world.store, "s", added=OLD, fence=7)
    stale = Mark("0" * 16, mark.epoch, mark.revision, mark.total)
    for refused, error in (
        (following(change, stale, history=NEW), Conflict),
        (following(change, mark, history=NEW, fence=6), Fenced),
    ):
        with pytest.raises(error):
            await world.store.write(refused, limit=LIMIT)
    with pytest.raises(Conflict):
        await create(world.store, "s", added=NEW)
    assert (await found(world.store, "s")).lines == OLD
    assert await left_behind(world) == []


async def test_written_twice_it_is_one_write(world: RedisWorld) -> None:
    """As when the first answer was lost."""
    change, mark = await create(world.store, "s", added=OLD)
    rewrite = following(change, mark, history=NEW)
    assert await world.store.write(rewrite, limit=LIMIT) == await world.store.write(rewrite, limit=LIMIT)
    assert await left_behind(world) == []
