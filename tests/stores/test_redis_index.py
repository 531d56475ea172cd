"""Sessions that go on are put in their places in the listing beside their saves."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from agentic_flywheel.stores import Change, Mark, Store
from agentic_flywheel.stores.names import name_of
from agentic_flywheel.stores.redis_index import LATE_SECONDS
from tests.resilience.outage import until
from tests.stores.sessions import LIMIT, create, following
from tests.stores.worlds import RedisWorld

LATER = "2025-11-18T10:00:09.000000Z"


async def two(store: Store) -> tuple[Change, Mark]:
    """Two sessions, and the change that began the one that was used first."""
    made = await create(store, "old")
    await create(store, "new", last_active="2025-11-18T10:00:05.000000Z")
    return made


async def listed(store: Store) -> list[str]:
    """The session that was used last, as far as the index knows."""
    return [each.session_id for each in await store.recent(1)]


async def go_on(store: Store, change: Change, mark: Mark, *turns: int) -> Mark:
    return await store.write(following(change, mark, *turns, last_active=LATER), limit=LIMIT)


async def test_by_its_own_process_at_once(redis_world: RedisWorld) -> None:
    change, mark = await two(redis_world.store)
    await go_on(redis_world.store, change, mark, 1)
    assert await listed(redis_world.store) == ["old"]


async def test_by_others_a_moment_later(redis_world: RedisWorld) -> None:
    change, mark = await two(redis_world.store)
    other = redis_world.open()
    await go_on(redis_world.store, change, mark, 1)

    async def is_listed() -> bool:
        return await listed(other) == ["old"]

    await until(is_listed)


async def test_one_that_closes_leaves_nothing_behind(redis_world: RedisWorld) -> None:
    change, mark = await two(redis_world.store)
    other = redis_world.open()
    await go_on(redis_world.store, change, mark, 1)
    await redis_world.store.close()
    assert await listed(other) == ["old"]


async def test_many_share_a_command(redis_world: RedisWorld) -> None:
    """Those that are saved at about the same moment are put in their places together, of each owner."""
    store, raw = redis_world.store, redis_world.raw
    owner = "0" * 32
    made = [await create(store, name_of(owner if number % 2 else "", str(number))) for number in range(40)]
    before = (await raw.info("commandstats"))["cmdstat_zadd"]["calls"]
    await asyncio.gather(*(go_on(store, change, mark, 1) for change, mark in made))
    await store.recent(1)
    assert (await raw.info("commandstats"))["cmdstat_zadd"]["calls"] == before + 2


async def test_one_that_could_not_be_placed_is_with_its_next_save(redis_world: RedisWorld) -> None:
    """No save fails with the index, and nobody takes for done what was not."""
    store, raw, index = redis_world.store, redis_world.raw, f"{redis_world.prefix}:index"
    change, mark = await two(store)
    await raw.rename(index, "aside")
    await raw.set(index, "no sorted set")
    mark = await go_on(store, change, mark, 1)
    await asyncio.sleep(2 * LATE_SECONDS)
    await raw.rename("aside", index)
    again = replace(following(change, mark, 2, last_active=LATER), base=mark)
    await store.write(again, limit=LIMIT)
    assert await listed(store) == ["old"]


async def test_one_that_was_deleted_meanwhile_stays_out(redis_world: RedisWorld) -> None:
    change, mark = await two(redis_world.store)
    await go_on(redis_world.store, change, mark, 1)
    await redis_world.store.delete("old", deleted_at=LATER, ttl=100)
    await asyncio.sleep(2 * LATE_SECONDS)
    assert await redis_world.raw.zrange(f"{redis_world.prefix}:index", 0, -1) == [b"new"]
