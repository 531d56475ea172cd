"""Long sessions: read in pieces while others write, their sizes told, and the limit held."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from agentic_flywheel.config import Limits
from agentic_flywheel.errors import TooLarge
from agentic_flywheel.manager import SessionManager
from agentic_flywheel.session import UniversalSession
from agentic_flywheel.stores import Change, Mark, Store
from agentic_flywheel.stores.redis_pieces import PIECE
from tests.stores.sessions import create, following, found, head_of, line
from tests.stores.worlds import RedisWorld, World

BIG = 100_000_000
TURNS = 3 * PIECE // 20_000


async def create_long(store: Store) -> tuple[Change, Mark]:
    """A session that takes several pieces."""
    change, mark = await create(store)
    added = [line(number, 10_000) for number in range(TURNS)]
    long = replace(following(change, mark), added=added)
    return long, await store.write(long, limit=BIG)


async def test_a_long_session_is_read_as_it_was_written(redis_world: RedisWorld) -> None:
    """A document of several pieces loads whole, and from any turn on."""
    change, _ = await create_long(redis_world.store)
    stored = await redis_world.store.read("s")
    assert stored is not None
    assert stored.lines == change.added
    newest = await redis_world.store.read("s", after=TURNS - 3)
    assert newest is not None
    assert newest.lines == list(change.added)[-3:]


async def test_appends_while_a_long_session_is_read_do_no_harm(redis_world: RedisWorld) -> None:
    """What is read is the session as it was at some moment, although another writer goes on appending."""
    change, mark = await create_long(redis_world.store)
    everything = [*change.added, *(line(TURNS + number) for number in range(40))]
    writer = redis_world.open()

    async def append() -> None:
        before, at = change, mark
        for number in range(40):
            before = following(before, at, TURNS + number)
            at = await writer.write(before, limit=BIG)

    appending = asyncio.create_task(append())
    while not appending.done():
        stored = await redis_world.store.read("s")
        assert stored is not None
        assert stored.mark.total == len(stored.lines) >= TURNS
        assert stored.lines == everything[: len(stored.lines)]
    await appending


async def test_a_long_session_that_is_rewritten_while_it_is_read_is_one_or_the_other(
    redis_world: RedisWorld,
) -> None:
    """A rewrite between two pieces does not mix the old turns with the new ones."""
    change, mark = await create_long(redis_world.store)
    old = list(change.added)
    new = [line(number, 11_000) for number in range(TURNS)]
    reading = asyncio.create_task(redis_world.store.read("s"))
    await redis_world.open().write(replace(following(change, mark), added=(), history=new), limit=BIG)
    stored = await reading
    assert stored is not None
    assert stored.lines in (old, new)


async def test_a_head_that_outgrows_its_block_again_and_again(redis_world: RedisWorld) -> None:
    """What is moved for it is the whole session, so it gets the more room, the longer the session is."""
    store = redis_world.store
    change, mark = await create_long(store)
    places = set()
    for number in range(1, 9):
        head = head_of(context={"notes": "n" * 12_000 * number})
        change = following(change, mark, TURNS + number, head=head)
        mark = await store.write(change, limit=BIG)
        stored = await found(store, last=number)
        assert (stored.head, stored.mark.total) == (head, TURNS + number)
        assert stored.lines == [line(TURNS + each) for each in range(1, number + 1)]
        places.add(json.loads(await store.raw("s") or b"")["layout"]["head"])
    assert len(places) == 1, "it was moved once"


async def test_a_listing_tells_the_size(world: World) -> None:
    """A listed session comes with its size in bytes, turns included."""
    await create(world.store, "s", 1, 2, 3)
    (listed,) = await world.store.recent(10)
    assert listed.size >= sum(len(line(number)) for number in (1, 2, 3))


async def test_a_session_near_the_limit_is_told_of_and_one_over_it_refused(world: World) -> None:
    """From warn_bytes on health tells of a session; the turn beyond the limit is refused with the way on."""
    limits = Limits(session_bytes=60_000, warn_bytes=20_000)
    manager = SessionManager(world.store, limits=limits)
    session = UniversalSession(backend="custom")
    for _ in range(4):
        session.record(question="?", response="x" * 10_000)
        assert await manager.save_session(session)
    assert list((await manager.health()).large_sessions) == [session.id]
    session.record(question="?", response="x" * 30_000)
    refused = await manager.save_session(session)
    assert refused.outcome == "refused"
    assert "fork_session" in (refused.reason or "")
    assert "60,000" in (refused.reason or "")
    fork = await manager.fork_session(session.id, last=2)
    fork.record(question="?", response="x" * 30_000)
    assert await manager.save_session(fork)


async def test_the_limit_is_told_by_the_store(world: World) -> None:
    """A write over the limit is TooLarge, and the session stays as it was."""
    change, mark = await create(world.store, "s", 1)
    with pytest.raises(TooLarge):
        await world.store.write(following(change, mark, *range(2, 50)), limit=len(change.head) + 500)
    stored = await world.store.read("s")
    assert stored is not None
    assert stored.mark == mark
    assert len(stored.lines) == 1
