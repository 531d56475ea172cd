"""What is damaged is moved aside whole, on every store, and only if it still is what was looked at."""

from __future__ import annotations

import asyncio

from agentic_flywheel.stores.base import ASIDE_SECONDS
from agentic_flywheel.stores.redis_pieces import PIECE
from tests.stores.sessions import create, found, is_there, line, lines
from tests.stores.worlds import World


async def test_moving_aside(world: World) -> None:
    """What is moved aside is absent, and its bytes are found by the session's id, also from elsewhere."""
    await create(world.store, "s", 1)
    await create(world.store, "s:2", 2)
    raw = await world.store.raw("s")
    assert raw is not None
    where = await world.store.set_aside("s", raw)
    assert where is not None
    assert not await is_there(world.store)
    assert await world.open().aside("s") == {where: raw}
    assert await world.store.aside("s:2") == {}
    assert list((await found(world.store, "s:2")).lines) == lines(2)


async def test_one_that_is_read_in_pieces(world: World) -> None:
    await create(world.store, "s", added=[line(1, PIECE // 2)])
    raw = await world.store.raw("s")
    assert raw is not None
    async with asyncio.timeout(10):
        assert await world.store.set_aside("s", raw + b" ") is None
        assert await world.store.set_aside("s", raw) is not None
    assert not await is_there(world.store)


async def test_what_is_another_by_now(world: World) -> None:
    """What was written since somebody looked stays where it is."""
    await create(world.store, "s", 1)
    assert await world.store.set_aside("s", b"something else") is None
    assert await world.store.set_aside("absent", b"something else") is None
    assert list((await found(world.store)).lines) == lines(1)
    assert await world.store.aside("s") == {}


async def test_twice(world: World) -> None:
    """What is moved aside a second time does not take the place of the first."""
    kept = []
    for number in (1, 2):
        await create(world.store, "s", number)
        raw = await world.store.raw("s")
        assert raw is not None
        kept.append(raw)
        await world.store.set_aside("s", raw)
    assert list((await world.store.aside("s")).values()) == kept


async def test_it_is_no_session(world: World) -> None:
    """What is aside is neither listed nor found as a session."""
    await create(world.store, "s", 1)
    await world.store.set_aside("s", await world.store.raw("s") or b"")
    assert [name async for name in world.store.names("session")] == []
    assert await world.store.recent(10) == []
    assert await world.store.reindex() == 0


async def test_it_is_kept_for_its_time(world: World) -> None:
    """It is kept for thirty days, whatever the time to live of the session was."""
    await create(world.store, "s", 1, ttl=100)
    await world.store.set_aside("s", await world.store.raw("s") or b"")
    await world.wait(ASIDE_SECONDS - 10)
    assert len(await world.store.aside("s")) == 1
