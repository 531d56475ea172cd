"""A change gets into a store once, whatever others write meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agentic_flywheel.commit import LONGEST_PAUSE, TRIES, Committed, commit
from agentic_flywheel.errors import Deleted, Newer, TooLarge, Unavailable
from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.stores import Change, Store, Stored
from agentic_flywheel.stores.memory import MemoryStore
from tests.stores.sessions import BORN, LIMIT, create, creation, following, found, head_of, lines
from tests.stores.worlds import RedisWorld, World
from tests.support.raw import bytes_at

WEEK = 7 * 24 * 3600
AFTER_BORN = "2025-11-18T09:30:00.000000Z"


async def commit_(store: Store, change: Change, known: Sequence[bytes] = ()) -> Committed:
    return await commit(store, change, known, limit=LIMIT)


async def turns(store: Store, session_id: str = "s") -> list[bytes]:
    return list((await found(store, session_id)).lines)


def context_of(head: bytes) -> dict[str, Any]:
    context: dict[str, Any] = decode(head)["context"]
    return context


async def test_an_append(world: World) -> None:
    """Where nobody else wrote, the new turns are appended and the answer says from where on."""
    change, mark = await create(world.store, "s", 1, 2)
    done = await commit_(world.store, following(change, mark, 3))
    assert (done.start, list(done.lines)) == (2, lines(3))
    assert (done.mark.total, done.mark.epoch) == (3, mark.epoch)
    assert await turns(world.store) == lines(1, 2, 3)


async def test_a_late_append_stands_behind_the_turns_of_others(world: World) -> None:
    """A change that is based on an older state is appended behind what others wrote since; the answer has both."""
    change, mark = await create(world.store, "s", 1)
    await commit_(world.store, following(change, mark, 2))
    done = await commit_(world.store, following(change, mark, 3), lines(1))
    assert await turns(world.store) == lines(1, 2, 3)
    assert list(done.lines) == lines(1, 2, 3)[done.start :]
    assert done.mark == (await found(world.store)).mark


async def test_heads_merge_by_key(world: World) -> None:
    """Heads of two writers are merged key by key; where both changed one key the last writer wins."""
    base = head_of(context={"a": 1, "b": 1, "c": 1})
    change, mark = await create(world.store, "s", 1, head=base)
    await commit_(world.store, following(change, mark, head=head_of(context={"a": 2, "b": 2, "c": 1})))
    done = await commit_(world.store, following(change, mark, head=head_of(context={"a": 1, "b": 3})))
    assert context_of(done.head) == {"a": 2, "b": 3}
    assert context_of((await found(world.store)).head) == {"a": 2, "b": 3}


async def test_last_active_never_goes_back(world: World) -> None:
    """Of two writers' last moments of use the later one stays, whoever writes last."""
    change, mark = await create(world.store, "s", 1)
    await commit_(world.store, following(change, mark, 2, last_active="2025-11-18T12:00:00Z"))
    done = await commit_(world.store, following(change, mark, 3, last_active="2025-11-18T11:00:00Z"))
    assert done.last_active == (await found(world.store)).last_active == "2025-11-18T12:00:00Z"


@pytest.mark.parametrize("turn", [{"id": "turn_9"}, {"role": "user", "content": "no id"}], ids=["id", "no id"])
async def test_a_change_that_is_committed_again(world: World, turn: dict[str, Any]) -> None:
    """The same turns, written again after an answer that was lost, are there once, with or without ids."""
    change, mark = await create(world.store, "s", 1)
    first = following(change, mark, added=[encode(turn)])
    await commit_(world.store, first)
    await commit_(world.store, first)
    await commit_(world.store, following(change, mark, added=[encode(turn)]))
    assert await turns(world.store) == [*lines(1), encode(turn)]


async def test_a_creation_that_is_committed_again(world: World) -> None:
    """A session that is created twice has each turn once."""
    change = creation("s", 1, 2)
    await commit_(world.store, change)
    await commit_(world.store, change)
    await commit_(world.store, creation("s", 1, 2, 3))
    assert await turns(world.store) == lines(1, 2, 3)


async def test_a_store_that_lost_the_session(world: World) -> None:
    """Where the session is gone, all that the writer knows of it is written, its own turns included."""
    change, mark = await create(world.store, "s", 1, 2, ttl=WEEK)
    await world.wait(WEEK + 1)
    done = await commit_(world.store, following(change, mark, 3), lines(1, 2))
    assert (done.start, list(done.lines)) == (0, lines(1, 2, 3))
    assert await turns(world.store) == lines(1, 2, 3)


async def test_a_store_that_is_an_older_copy(redis_world: RedisWorld) -> None:
    """Where the store was restored from an older copy, turns that it lost come back, each once."""
    change, mark = await create(redis_world.store, "s", 1)
    key = f"{redis_world.prefix}:session:s"
    copy = await bytes_at(redis_world.raw, key)
    mark = (await commit_(redis_world.store, following(change, mark, 2, 3))).mark
    await redis_world.raw.set(key, copy)
    await commit_(redis_world.store, following(change, mark, 4), lines(1, 2, 3))
    assert await turns(redis_world.store) == lines(1, 2, 3, 4)


async def test_turns_that_others_removed_stay_removed(world: World) -> None:
    """Where others rewrote the history on purpose, only the new turns go to its end."""
    change, mark = await create(world.store, "s", 1, 2, 3)
    await commit_(world.store, following(change, mark, history=lines(1, 3)))
    await commit_(world.store, following(change, mark, 4), lines(1, 2, 3))
    assert await turns(world.store) == lines(1, 3, 4)


async def test_a_rewrite_keeps_the_turns_of_others(world: World) -> None:
    """A writer who replaces the history does not lose what others appended meanwhile."""
    change, mark = await create(world.store, "s", 1, 2)
    await commit_(world.store, following(change, mark, 3))
    rewrite = following(change, mark, history=lines(2, 4), added=lines(4))
    done = await commit_(world.store, rewrite)
    assert await turns(world.store) == lines(2, 3, 4)
    assert list(done.lines) == lines(2, 3, 4)[done.start :]


async def test_two_rewrites(world: World) -> None:
    """Of two writers who replaced the history, nobody's turn is lost."""
    change, mark = await create(world.store, "s", 1)
    await commit_(world.store, following(change, mark, history=lines(1, 2)))
    await commit_(world.store, following(change, mark, history=lines(1, 3)))
    assert sorted(await turns(world.store)) == lines(1, 2, 3)


async def test_two_creations(world: World) -> None:
    """Two writers who create one session get one session with the turns and the context of both."""
    await commit_(world.store, creation("s", 1, 2, head=head_of(context={"a": 1})))
    await commit_(world.store, creation("s", 2, 3, head=head_of(context={"b": 2})))
    assert await turns(world.store) == lines(1, 2, 3)
    assert context_of((await found(world.store)).head) == {"a": 1, "b": 2}


async def test_a_late_writer_does_not_revive(world: World) -> None:
    """A session that was deleted is not brought back by one who still holds it; one that began later may be."""
    change, mark = await create(world.store, "s", 1)
    await world.store.delete("s", deleted_at=AFTER_BORN, ttl=WEEK)
    for late in (following(change, mark, 2), creation("s", 1), following(change, mark, history=lines(2))):
        with pytest.raises(Deleted, match="deleted at 2025-11-18T09:30"):
            await commit_(world.store, late)
        assert await world.store.read("s") is None
    await commit_(world.store, creation("s", 5, created_at="2025-11-18T09:30:01Z"))
    assert await turns(world.store) == lines(5)


async def test_what_is_newer_is_not_touched(world: World) -> None:
    """A document that is newer is not merged with, nor moved: its bytes stay as they are."""
    change, mark = await create(world.store, "s", 1)
    await world.store.write(following(change, mark, head=head_of(schema=2)), limit=LIMIT)
    before = await world.store.raw("s")
    for late in (creation("s", 2), following(change, mark, 2), following(change, mark, history=lines(2))):
        with pytest.raises(Newer):
            await commit_(world.store, late)
    assert await world.store.raw("s") == before
    assert await world.store.aside("s") == {}


@pytest.mark.parametrize("fields", [{"context": 5}, {"id": "other"}], ids=["damaged", "another"])
@pytest.mark.parametrize("kind", ["create", "append", "rewrite"])
async def test_what_is_damaged_is_moved_aside(world: World, fields: dict[str, Any], kind: str) -> None:
    """A document that is damaged or another session's is moved aside whole, and the session goes on."""
    change, mark = await create(world.store, "s", 1)
    await world.store.write(following(change, mark, head=head_of(**fields)), limit=LIMIT)
    before = await world.store.raw("s")
    late = creation("s", 2) if kind == "create" else following(change, mark, 2)
    late = replace(late, history=lines(1, 2)) if kind == "rewrite" else late
    done = await commit_(world.store, late, lines(1))
    assert await world.store.aside("s") == {done.aside: before}
    assert await turns(world.store) == (lines(2) if kind == "create" else lines(1, 2))


async def test_too_large(world: World) -> None:
    """A session over the limit is refused with the limit named, also after a rebase, and stays as it was."""
    change, mark = await create(world.store, "s", 1)
    await commit_(world.store, following(change, mark, 2))
    with pytest.raises(TooLarge, match="the limit is 5,000"):
        await commit(world.store, following(change, mark, added=[encode({"id": "x" * 6000})]), limit=5000)
    assert await turns(world.store) == lines(1, 2)


class BusyStore(MemoryStore):
    """A store in which somebody else always writes between our read and our write."""

    async def read(self, session_id: str, **how: Any) -> Stored | None:
        stored = await super().read(session_id, **how)
        if stored is not None:
            other = Change(
                session_id, stored.mark, stored.head, stored.head, stored.last_active, BORN, [encode({})]
            )
            await super().write(other, limit=LIMIT)
        return stored


async def test_too_many_at_once() -> None:
    """Whoever always comes too late gives up after a bounded number of tries, with bounded, jittered pauses."""
    store, pauses = BusyStore(), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    change, mark = await create(store, "s", 1)
    await store.read("s")
    with pytest.raises(Unavailable, match="written by too many at once; save it again"):
        await commit(store, following(change, mark, 2), limit=LIMIT, pause=pause)
    assert len(pauses) < TRIES
    assert max(pauses) <= LONGEST_PAUSE
    assert len(set(pauses)) > 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(writers=st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=4), rewriter=st.booleans())
async def test_any_writers_at_once(world: World, writers: list[list[int]], rewriter: bool) -> None:
    """Whatever several writers append at the same time is there once, each writer's turns in their order."""
    session_id = uuid4().hex
    change, mark = await create(world.store, session_id, 0)

    async def write(number: int, sizes: list[int]) -> list[bytes]:
        store, state, written = world.open(), mark, list[bytes]()
        for place, size in enumerate(sizes):
            added = [encode({"id": f"{number}-{place}-{turn}"}) for turn in range(size)]
            done = await commit_(store, replace(following(change, state), added=added), lines(0))
            state, written = done.mark, [*written, *added]
        return written

    async def rewrite() -> list[bytes]:
        edited = [encode({"id": "turn_0", "response": "edited"})]
        await commit_(world.open(), following(change, mark, history=edited))
        return []

    jobs = [write(number, sizes) for number, sizes in enumerate(writers)]
    results = await asyncio.gather(*jobs, *([rewrite()] if rewriter else []))
    after = await turns(world.store, session_id)
    assert sorted(after[1:]) == sorted(line for written in results for line in written)
    for written in results:
        assert [line for line in after if line in written] == written
