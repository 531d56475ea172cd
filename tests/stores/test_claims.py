"""Claims, on every store: one turn of a session at a time, and none for ever."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from agentic_flywheel.errors import Conflict, Fenced, TooLarge
from agentic_flywheel.stores import Claim, Store
from agentic_flywheel.stores.sqlite_claims import KEPT_SECONDS
from tests.stores.sessions import LIMIT, create, following, lines
from tests.stores.test_contract import ODD_IDS
from tests.stores.worlds import RedisWorld, World

NOTE = b'{"question":"why?"}'


async def claim(store: Store, turn_id: str, session_id: str = "s", **how: str) -> Claim | None:
    """What stood there."""
    return (await store.claim(session_id, turn_id, NOTE, seconds=5, **how)).found


async def until_ended(world: World, session_id: str = "s") -> None:
    """Let a claim end, and what ends with time."""
    if isinstance(world, RedisWorld):  # the server's own clock counts there
        async with asyncio.timeout(30):
            while (found := await world.store.claimed(session_id)) is not None and not found.ended:  # noqa: ASYNC110  # a server's clock
                await asyncio.sleep(0.05)
    else:
        await world.wait(6)


@pytest.mark.parametrize("session_id", ODD_IDS)
async def test_a_free_session_is_claimed(world: World, session_id: str) -> None:
    """A session that is free is claimed; what claims it is told, note and all; others are free still."""
    store = world.store
    assert await store.claimed(session_id) is None
    assert await claim(store, "a", session_id) is None
    found = await store.claimed(session_id)
    assert found is not None
    assert (found.turn_id, found.note, found.ended) == ("a", NOTE, False)
    assert await claim(store, "b", "another") is None


async def test_a_claim_stands(world: World) -> None:
    """Another turn's claim stands until it is given up, and says who has it."""
    store, other = world.store, world.open()
    await claim(store, "a")
    found = await claim(other, "b")
    assert found is not None
    assert (found.turn_id, found.ended) == ("a", False)
    await other.release("s", "b")
    assert await claim(other, "b") is not None
    await store.release("s", "a")
    assert await claim(other, "b") is None
    await store.release("s", "a")
    assert (await store.claimed("s")) is not None


async def test_a_claim_is_renewed(world: World) -> None:
    """A turn that claims its session again has it for longer."""
    store = world.store
    await claim(store, "a")
    first = await store.claimed("s")
    assert (await store.claim("s", "a", b'{"n":2}', seconds=500)).found is None
    second = await store.claimed("s")
    assert first is not None
    assert second is not None
    assert (second.note, second.until > first.until + 100) == (b'{"n":2}', True)


async def test_one_of_many_gets_it(world: World) -> None:
    """Of many who claim a session at the same moment one gets it, and the others are told of that one."""
    stores = [world.store, world.open()]
    found = await asyncio.gather(*(claim(stores[number % 2], f"t{number}") for number in range(50)))
    assert found.count(None) == 1
    holder = f"t{found.index(None)}"
    assert {other.turn_id for other in found if other is not None} == {holder}


async def test_a_claim_ends_by_itself(world: World) -> None:
    """A claim that is not renewed ends, is still told, gives way, and is told to who takes it."""
    store = world.store
    await store.claim("s", "a", NOTE, seconds=1)
    await until_ended(world)
    found = await store.claimed("s")
    assert found is not None
    assert (found.turn_id, found.ended) == ("a", True)
    taken = await claim(store, "b")
    assert taken is not None
    assert (taken.turn_id, taken.note, taken.ended) == ("a", NOTE, True)
    found = await store.claimed("s")
    assert found is not None
    assert found.turn_id == "b"


async def test_a_named_claim_gives_way(world: World) -> None:
    """Who knows that a turn is dead names it, and its claim gives way; another's does not."""
    store = world.store
    await claim(store, "a")
    standing = await claim(store, "b", instead="x")
    assert standing is not None
    assert not standing.ended
    taken = await claim(store, "b", instead="a")
    assert taken is not None
    assert (taken.turn_id, taken.ended) == ("a", True)
    standing = await claim(store, "a")
    assert standing is not None
    assert standing.turn_id == "b"


async def test_a_claim_is_forgotten_in_the_end(world: World) -> None:
    """What claimed a session long ago is not told for ever."""
    store = world.store
    await claim(store, "a")
    await world.wait(KEPT_SECONDS + 10)
    await claim(store, "b", "another")
    assert await store.claimed("s") is None


async def test_each_grant_has_a_greater_fence(world: World) -> None:
    """A claim keeps its fence while it is renewed, and each later grant of the session has a greater one."""
    store = world.store
    first = await store.claim("s", "a", NOTE, seconds=5)
    assert first.fence > 0
    assert await store.claim("s", "a", NOTE, seconds=5) == first
    refused = await store.claim("s", "b", NOTE, seconds=5)
    assert (refused.stands, refused.fence) == (True, 0)
    taken = await store.claim("s", "b", NOTE, seconds=5, instead="a")
    assert taken.found is not None
    assert (taken.stands, taken.found.fence, taken.fence > first.fence) == (False, first.fence, True)
    claimed = await world.open().claimed("s")
    assert claimed is not None
    assert claimed.fence == taken.fence


@pytest.mark.parametrize("rewrites", [False, True])
async def test_a_write_behind_a_later_one_is_refused(world: World, rewrites: bool) -> None:
    """A writer whose claim has ended does not write after one with a later claim; who has none is not held up."""
    store = world.store
    change, mark = await create(store, "s", 1, fence=10)
    late = following(change, mark, 2, fence=9)
    if rewrites:
        late = replace(late, history=lines(2), added=())
    with pytest.raises(Fenced, match="a later turn has taken session 's' over"):
        await store.write(late, limit=LIMIT)
    mark = await store.write(following(change, mark, 3, fence=11), limit=LIMIT)
    mark = await store.write(following(change, mark, 4), limit=LIMIT)
    with pytest.raises(Fenced):
        await store.write(following(change, mark, 5, fence=10), limit=LIMIT)
    mark = await store.write(following(change, mark, 6, fence=11), limit=LIMIT)
    stored = await store.read("s")
    assert stored is not None
    assert stored.lines == lines(1, 3, 4, 6)


async def test_a_fence_holds_before_anything_is_written(world: World) -> None:
    """Who takes a session over shuts the earlier claim out at once, and a rewrite does not let it in again."""
    store = world.store
    change, mark = await create(store, "s", 1, fence=10)
    await store.fence("s", 20)
    await store.fence("s", 15)
    await store.fence("absent", 15)
    with pytest.raises(Fenced):
        await store.write(following(change, mark, 2, fence=19), limit=LIMIT)
    rewritten = replace(following(change, mark), history=lines(7), added=())
    mark = await store.write(rewritten, limit=LIMIT)
    with pytest.raises(Fenced):
        await store.write(following(rewritten, mark, 8, fence=19), limit=LIMIT)
    await store.write(following(rewritten, mark, 9, fence=20), limit=LIMIT)
    stored = await store.read("s")
    assert stored is not None
    assert stored.lines == lines(7, 9)


async def test_a_claim_can_come_with_what_it_is_for(world: World) -> None:
    """What is read is the session as it is from the claim on; where another's claim stands, it says so."""
    store, other = world.store, world.open()
    await create(store, "s", 1, 2, 3)
    grant, stored = await store.claim_and_read("s", "a", NOTE, seconds=5, last=1)
    assert grant.found is None
    assert stored is not None
    assert (stored.start, stored.lines) == (2, lines(3))
    grant, _ = await other.claim_and_read("s", "b", NOTE, seconds=5, last=0)
    assert grant.stands
    await store.release("s", "a")
    grant, stored = await other.claim_and_read("s", "b", NOTE, seconds=5)
    assert not grant.stands
    assert stored is not None
    assert len(stored.lines) == 3
    grant, stored = await store.claim_and_read("nobody", "c", NOTE, seconds=5, last=0)
    assert not grant.stands
    assert stored is None


@pytest.mark.parametrize("rewrites", [False, True])
async def test_a_write_can_give_its_claim_up(world: World, rewrites: bool) -> None:
    """The claim of the turn that a write releases is gone with it; another's is not."""
    store = world.store
    change, mark = await create(store, "s", 1)
    await claim(store, "a")
    later = following(change, mark, 2, releases="a")
    mark = await store.write(replace(later, history=lines(1, 2), added=()) if rewrites else later, limit=LIMIT)
    assert await world.open().claimed("s") is None
    await claim(store, "b")
    await store.write(following(later, mark, 3, releases="a"), limit=LIMIT)
    found = await store.claimed("s")
    assert found is not None
    assert found.turn_id == "b"


async def test_a_creation_can_give_its_claim_up(world: World) -> None:
    """So does a write that makes the session."""
    await claim(world.store, "a")
    await create(world.store, "s", 1, releases="a")
    assert await world.store.claimed("s") is None


async def test_a_write_that_is_refused_keeps_its_claim(world: World) -> None:
    """Whose write was not stored has its claim still, and can write again under it."""
    store = world.store
    change, mark = await create(store, "s", 1)
    await store.write(following(change, mark, 2, fence=10), limit=LIMIT)
    await claim(store, "a")
    late = following(change, mark, 3, releases="a")
    with pytest.raises(Conflict):
        await store.write(late, limit=LIMIT)
    current = await store.read("s")
    assert current is not None
    with pytest.raises(TooLarge):
        await store.write(following(late, current.mark, 3, releases="a"), limit=10)
    with pytest.raises(Fenced):
        await store.write(following(late, current.mark, 3, releases="a", fence=9), limit=LIMIT)
    found = await store.claimed("s")
    assert found is not None
    assert (found.turn_id, found.ended) == ("a", False)


async def test_a_write_that_comes_twice_gives_its_claim_up(world: World) -> None:
    """A write whose answer was lost is sent again: it is there once, and its claim is gone."""
    store = world.store
    change, mark = await create(store, "s", 1)
    later = following(change, mark, 2)
    first = await store.write(later, limit=LIMIT)
    await claim(store, "a")
    assert await store.write(replace(later, releases="a"), limit=LIMIT) == first
    assert await store.claimed("s") is None
