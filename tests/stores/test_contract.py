"""What every store does, on every store: the sentences of `agentic_flywheel.stores.base`, one by one."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from agentic_flywheel.errors import Conflict, Deleted, TooLarge
from agentic_flywheel.stores import Store
from agentic_flywheel.stores.base import Kind, new_version
from agentic_flywheel.stores.redis_upkeep import PAGE
from tests.stores.sessions import (
    BORN,
    HEAD,
    LIMIT,
    MOMENT,
    append_stubbornly,
    create,
    creation,
    entry,
    execution,
    following,
    found,
    head_of,
    is_there,
    line,
    lines,
)
from tests.stores.worlds import World

ODD_IDS = [
    "a:b",
    "a%3Ab",
    "*",
    "s[1-3]?",
    "50 % off",
    "~tilde",
    "Grüße 你好 🙂",
    "\\back/slash",
    "'quoted\"",
    "a\u2028b",
    "x" * 256,
]


@pytest.fixture
def store(world: World) -> Store:
    return world.store


async def names(store: Store, kind: Kind) -> list[tuple[str, ...]]:
    return sorted([name async for name in store.names(kind)])


# Reading and writing


async def test_what_was_never_written_is_absent(store: Store) -> None:
    assert await store.read("s") is None
    assert await store.raw("s") is None
    assert await store.execution("e") is None
    assert await store.entries("s", "f") == []
    assert await store.recent(10) == []


@pytest.mark.parametrize("turns", [(), (1,), (1, 2, 3)])
async def test_a_session_is_read_as_it_was_created(store: Store, turns: tuple[int, ...]) -> None:
    change, mark = await create(store, "s", *turns)
    stored = await found(store)
    assert (stored.mark, stored.head, stored.last_active) == (mark, HEAD, MOMENT)
    assert (list(stored.lines), stored.start, stored.foreign) == (lines(*turns), 0, False)
    assert (mark.version, mark.revision, mark.total) == (change.version, 1, len(turns))


async def test_a_session_may_be_created_with_a_whole_history(store: Store) -> None:
    """Then `added` is only the end of it that is new."""
    _, mark = await create(store, history=lines(1, 2, 3), added=lines(3))
    assert mark.total == 3
    assert list((await found(store)).lines) == lines(1, 2, 3)


async def test_turns_are_appended(store: Store) -> None:
    change, first = await create(store, "s", 1)
    second = await store.write(following(change, first, 2, 3), limit=LIMIT)
    third = await store.write(following(change, second, 4), limit=LIMIT)
    assert list((await found(store)).lines) == lines(1, 2, 3, 4)
    assert [first.revision, second.revision, third.revision] == [1, 2, 3]
    assert first.epoch == second.epoch == third.epoch
    assert (await found(store)).mark == third


async def test_the_first_turn_may_come_later(store: Store) -> None:
    change, mark = await create(store)
    await store.write(following(change, mark, 1), limit=LIMIT)
    assert list((await found(store)).lines) == lines(1)


async def test_a_write_without_turns_moves_last_active(store: Store) -> None:
    change, mark = await create(store, "s", 1)
    later = "2025-11-18T10:05:00.000000Z"
    mark = await store.write(following(change, mark, last_active=later), limit=LIMIT)
    stored = await found(store)
    assert (stored.last_active, stored.mark, stored.head) == (later, mark, HEAD)
    assert list(stored.lines) == lines(1)


async def test_last_active_may_be_unknown_and_become_known(store: Store) -> None:
    change, mark = await create(store, last_active=None)
    assert (await found(store)).last_active is None
    mark = await store.write(following(change, mark, last_active=MOMENT), limit=LIMIT)
    assert (await found(store)).last_active == MOMENT
    await store.write(following(change, mark, last_active=None), limit=LIMIT)
    assert (await found(store)).last_active is None


async def test_a_whole_history_begins_the_epoch_that_is_named(store: Store) -> None:
    """Two stores that are given one history can so agree on where it began."""
    change, first = await create(store, "s", 1, epoch="0123456789abcdef")
    assert first.epoch == "0123456789abcdef"
    rewrite = following(change, first, history=lines(2), epoch="fedcba9876543210")
    second = await store.write(rewrite, limit=LIMIT)
    assert second.epoch == (await found(store)).mark.epoch == "fedcba9876543210"


HEADS = {
    "same size": head_of(backend="flowis"),
    "smaller": b'{"metadata":{}}',
    "a little larger": head_of(context={"topic": "x" * 100}),
    "larger": head_of(context={"topic": "x" * 2_000}),
    "much larger": head_of(context={"topic": "é" * 200_000}),
    "with what looks like the end": head_of(context={"t": '"history":[\n]}'}),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
async def test_a_head_is_replaced(store: Store, head: bytes) -> None:
    change, mark = await create(store, "s", 1, 2)
    mark = await store.write(following(change, mark, 3, head=head), limit=LIMIT)
    stored = await found(store)
    assert (stored.head, stored.last_active, list(stored.lines)) == (head, MOMENT, lines(1, 2, 3))
    await store.write(following(replace(change, head=head), mark, 4, head=HEAD), limit=LIMIT)
    stored = await found(store)
    assert (stored.head, list(stored.lines)) == (HEAD, lines(1, 2, 3, 4))


async def test_a_head_may_grow_with_every_turn(store: Store) -> None:
    change, mark = await create(store)
    for number in range(30):
        head = head_of(context={"topic": "x" * (number * 150)})
        after = following(change, mark, number, head=head)
        mark, change = await store.write(after, limit=LIMIT), after
        stored = await found(store)
        assert (stored.head, list(stored.lines)) == (head, lines(*range(number + 1)))


@pytest.mark.parametrize("turns", [(), (7,), (1, 3), (3, 2, 1), (1, 2, 3, 4, 5)])
async def test_a_whole_history_replaces_the_old_one(store: Store, turns: tuple[int, ...]) -> None:
    change, first = await create(store, "s", 1, 2, 3)
    rewrite = following(change, first, history=lines(*turns), head=head_of(status="edited"))
    second = await store.write(rewrite, limit=LIMIT)
    stored = await found(store)
    assert (list(stored.lines), stored.head) == (lines(*turns), head_of(status="edited"))
    assert stored.mark == second
    assert (second.revision, second.total) == (2, len(turns))
    third = await store.write(following(rewrite, second, 9), limit=LIMIT)
    assert list((await found(store)).lines) == lines(*turns, 9)
    assert third.epoch == second.epoch


async def test_the_epoch_changes_only_when_turns_are_rewritten(store: Store) -> None:
    change, first = await create(store, "s", 1)
    second = await store.write(following(change, first, 2), limit=LIMIT)
    third = await store.write(following(change, second, history=lines(2)), limit=LIMIT)
    assert first.epoch == second.epoch != third.epoch


@pytest.mark.parametrize("session_id", ODD_IDS)
async def test_any_id_names_one_session(store: Store, session_id: str) -> None:
    """No id is taken for another one, nor for a pattern."""
    await create(store, "neighbour", 1)
    change, mark = await create(store, session_id, 2)
    await store.write(following(change, mark, 3), limit=LIMIT)
    assert list((await found(store, session_id)).lines) == lines(2, 3)
    assert await names(store, "session") == sorted([("neighbour",), (session_id,)])
    assert {listed.session_id for listed in await store.recent(10)} == {"neighbour", session_id}
    assert await store.delete(session_id, deleted_at=MOMENT, ttl=100)
    assert await names(store, "session") == [("neighbour",)]


# Slices


@pytest.mark.parametrize("last", [None, 0, 1, 2, 4, 5, 6, 100])
@pytest.mark.parametrize("after", [None, 0, 1, 4, 5, 6])
async def test_a_slice_of_the_turns(store: Store, last: int | None, after: int | None) -> None:
    change, mark = await create(store, "s", 0, 1, 2)
    await store.write(following(change, mark, 3, 4), limit=LIMIT)
    stored = await found(store, last=last, after=after)
    start = max(min(after or 0, 5), 5 - min(5 if last is None else last, 5))
    assert (stored.start, list(stored.lines)) == (start, lines(*range(start, 5)))
    assert (stored.mark.total, stored.head) == (5, HEAD)


@pytest.mark.parametrize("last", [None, 0, 3])
@pytest.mark.parametrize("after", [None, 0, 3])
async def test_a_slice_of_no_turns(store: Store, last: int | None, after: int | None) -> None:
    await create(store)
    stored = await found(store, last=last, after=after)
    assert (stored.start, list(stored.lines)) == (0, [])


async def test_the_last_turns_of_a_long_session_of_uneven_turns(store: Store) -> None:
    """Short turns behind long ones and the other way round: a tail is found at any size."""
    history = [line(number, size=10 ** (number % 5)) for number in range(400)]
    await create(store, history=history)
    for last in (1, 2, 3, 20, 150, 399):
        stored = await found(store, last=last)
        assert (stored.start, list(stored.lines)) == (400 - last, history[-last:])


# Conflicts and repeats


async def test_what_is_there_is_not_created_again(store: Store) -> None:
    _, mark = await create(store, "s", 1)
    with pytest.raises(Conflict) as caught:
        await create(store, "s", 2)
    assert caught.value.found == "present"
    assert ((await found(store)).mark, list((await found(store)).lines)) == (mark, lines(1))


@pytest.mark.parametrize("history", [None, lines(2)], ids=["append", "rewrite"])
async def test_what_is_absent_is_not_continued(store: Store, history: list[bytes] | None) -> None:
    change, mark = await create(store, "s", 1)
    await store.delete("s", deleted_at=MOMENT, ttl=100)
    with pytest.raises(Conflict) as caught:
        await store.write(following(change, mark, 2, history=history), limit=LIMIT)
    assert caught.value.found == "absent"
    assert not await is_there(store)


@pytest.mark.parametrize("history", [None, lines(3)], ids=["append", "rewrite"])
async def test_a_stale_writer_is_refused(store: Store, history: list[bytes] | None) -> None:
    change, stale = await create(store, "s", 1)
    mark = await store.write(following(change, stale, 2), limit=LIMIT)
    with pytest.raises(Conflict) as caught:
        await store.write(following(change, stale, 3, history=history, head=head_of(a=1)), limit=LIMIT)
    assert caught.value.found == "changed"
    stored = await found(store)
    assert (stored.mark, stored.head, list(stored.lines)) == (mark, HEAD, lines(1, 2))


@pytest.mark.parametrize("kind", ["create", "append", "rewrite"])
async def test_a_change_that_is_written_twice_is_there_once(store: Store, kind: str) -> None:
    """Its answer may have been lost: the repeat gets the same one."""
    change, mark = await create(store, "s", 1)
    if kind != "create":
        history = lines(5, 6) if kind == "rewrite" else None
        change = following(change, mark, 2, history=history)
        mark = await store.write(change, limit=LIMIT)
    before = await found(store)
    assert await store.write(change, limit=LIMIT) == mark
    assert await found(store) == before


async def test_a_version_never_comes_again(store: Store) -> None:
    """A session that was deleted and made again is not the one that a writer has seen."""
    change, mark = await create(store, "s", 1)
    await store.delete("s", deleted_at="2025-01-01T00:00:00Z", ttl=100)
    await create(store, "s", 1)
    with pytest.raises(Conflict):
        await store.write(following(change, mark, 2), limit=LIMIT)


async def test_writers_that_interleave_keep_every_turn(world: World) -> None:
    stores = [world.store, world.open()]
    await create(world.store)
    added = [lines(*range(100)), lines(*range(100, 200))]
    jobs = [append_stubbornly(store, "s", new) for store, new in zip(stores, added, strict=True)]
    await asyncio.gather(*jobs)
    stored = await found(world.store)
    assert sorted(stored.lines) == sorted(lines(*range(200)))
    assert [kept for kept in stored.lines if kept in added[0]] == added[0]
    assert (stored.mark.total, stored.mark.revision) == (200, 201)


async def test_many_sessions_at_once(store: Store) -> None:
    made = await asyncio.gather(*(create(store, f"s{number}", number) for number in range(200)))
    await asyncio.gather(
        *(store.write(following(change, mark, 1000), limit=LIMIT) for change, mark in made),
    )
    read = await asyncio.gather(*(found(store, f"s{number}") for number in range(200)))
    assert [list(stored.lines) for stored in read] == [lines(number, 1000) for number in range(200)]


# Limits


async def test_a_session_over_the_limit_is_not_created(store: Store) -> None:
    change = creation("s", added=[line(1, size=50_000)])
    with pytest.raises(TooLarge, match=r"limit is 20,000\..*fork"):
        await store.write(change, limit=20_000)
    assert not await is_there(store)


@pytest.mark.parametrize("field", ["turn", "head", "history"])
async def test_a_session_does_not_grow_over_the_limit(store: Store, field: str) -> None:
    change, mark = await create(store, "s", 1)
    larger = {
        "turn": following(change, mark, added=[line(2, size=50_000)]),
        "head": following(change, mark, head=head_of(context="x" * 50_000)),
        "history": following(change, mark, history=[line(2, size=50_000)]),
    }[field]
    with pytest.raises(TooLarge):
        await store.write(larger, limit=20_000)
    stored = await found(store)
    assert (stored.mark, stored.head, list(stored.lines)) == (mark, HEAD, lines(1))


async def test_the_limit_counts_all_turns(store: Store) -> None:
    change, mark = await create(store)
    for number in range(15):
        mark = await store.write(following(change, mark, added=[line(number, size=500)]), limit=20_000)
    with pytest.raises(TooLarge):
        await store.write(following(change, mark, added=[line(15, size=2_000)]), limit=20_000)
    assert (await found(store)).mark == mark


# Time to live


async def test_a_session_expires(world: World) -> None:
    await create(world.store, ttl=100)
    await world.wait(90)
    assert await is_there(world.store)
    await world.wait(11)
    assert not await is_there(world.store)
    assert await world.store.raw("s") is None
    assert await world.store.count("", 1) == 0
    assert await world.store.recent(10) == []
    assert await names(world.store, "session") == []


async def test_a_session_without_ttl_stays(world: World) -> None:
    change, mark = await create(world.store, "s", ttl=100)
    await world.store.write(following(change, mark, ttl=0), limit=LIMIT)
    await create(world.store, "t", ttl=0)
    await world.wait(10**8)
    assert await is_there(world.store, "s")
    assert await is_there(world.store, "t")


async def test_a_write_starts_the_time_to_live_again(world: World) -> None:
    change, mark = await create(world.store, ttl=100)
    await world.wait(90)
    mark = await world.store.write(following(change, mark, 1), limit=LIMIT)
    await world.wait(90)
    await world.store.write(following(change, mark, 2, ttl=1000), limit=LIMIT)
    await world.wait(900)
    assert await is_there(world.store)
    await world.wait(101)
    assert not await is_there(world.store)


@pytest.mark.parametrize("last", [None, 1, 0])
async def test_a_read_starts_the_time_to_live_again(world: World, last: int | None) -> None:
    """The session's own one, also after reading only a part of it."""
    await create(world.store, "s", 1, 2, ttl=100)
    for _ in range(3):
        await world.wait(90)
        assert await world.store.read("s", last=last) is not None
    await world.wait(101)
    assert not await is_there(world.store)


async def test_looking_does_not_count_as_use(world: World) -> None:
    await create(world.store, ttl=100)
    await world.wait(60)
    await world.store.read("s", touch=False)
    await world.store.recent(10)
    await world.store.raw("s")
    await world.store.reindex()
    await names(world.store, "session")
    await world.wait(60)
    assert not await is_there(world.store)


async def test_an_expired_session_can_be_made_anew(world: World) -> None:
    """It begins empty: no turn of the old one is in it."""
    change, mark = await create(world.store, "s", 1, 2, 3, ttl=100)
    await world.wait(101)
    with pytest.raises(Conflict) as caught:
        await world.store.write(following(change, mark, 4), limit=LIMIT)
    assert caught.value.found == "absent"
    await create(world.store, "s", 9)
    assert list((await found(world.store)).lines) == lines(9)


# Deleting


async def test_a_deleted_session_is_absent(store: Store) -> None:
    await create(store, "s", 1)
    assert await store.delete("s", deleted_at=MOMENT, ttl=100)
    assert not await is_there(store)
    assert await store.recent(10) == []
    assert not await store.delete("s", deleted_at=MOMENT, ttl=100)


async def test_deleting_what_was_never_there(store: Store) -> None:
    assert not await store.delete("s", deleted_at=MOMENT, ttl=100)


@pytest.mark.parametrize("deleted_at", [BORN, MOMENT, "2025-11-18T10:00:00+00:00", "2025-11-18T12:00:00+02:00"])
async def test_a_late_writer_does_not_bring_a_session_back(store: Store, deleted_at: str) -> None:
    """It is the moment that counts, not how it is written; one and the same moment counts as later."""
    await create(store, "s", 1)
    await store.delete("s", deleted_at=deleted_at, ttl=100)
    with pytest.raises(Deleted):
        await create(store, "s", 2)
    assert not await is_there(store)
    assert await store.recent(10) == []


async def test_a_session_without_a_beginning_does_not_come_back(store: Store) -> None:
    await store.delete("s", deleted_at=MOMENT, ttl=100)
    with pytest.raises(Deleted):
        await create(store, "s", created_at=None)


async def test_a_new_conversation_may_take_a_deleted_name(store: Store) -> None:
    await create(store, "s", 1)
    await store.delete("s", deleted_at=MOMENT, ttl=100)
    change, mark = await create(store, "s", 2, created_at="2025-11-18T10:00:01Z")
    await store.write(following(change, mark, 3), limit=LIMIT)
    assert list((await found(store)).lines) == lines(2, 3)


async def test_a_session_that_goes_on_is_not_taken_for_deleted(store: Store) -> None:
    """A note of an earlier deletion stands against creating only, not against a rewrite of what is there."""
    await store.delete("s", deleted_at=MOMENT, ttl=100)
    change, mark = await create(store, "s", 1, created_at="2025-11-18T10:00:01Z")
    rewrite = following(change, mark, history=lines(2), created_at=None)
    await store.write(rewrite, limit=LIMIT)
    assert list((await found(store)).lines) == lines(2)


async def test_a_deletion_is_remembered_for_its_time(world: World) -> None:
    await world.store.delete("s", deleted_at=MOMENT, ttl=100)
    await world.store.delete("t", deleted_at=MOMENT, ttl=0)
    await world.wait(101)
    await create(world.store, "s", 1)
    with pytest.raises(Deleted):
        await create(world.store, "t", 1)


# Listing


async def test_the_sessions_used_last_come_first(store: Store) -> None:
    moments = ["2025-11-18T10:00:00Z", "2025-11-18T09:00:00Z", None, "2025-11-18T13:00:00+02:00"]
    for number, moment in enumerate(moments):
        await create(store, f"s{number}", *range(number), last_active=moment, head=head_of(number=number))
    listed = await store.recent(10)
    assert [found.session_id for found in listed] == ["s3", "s0", "s1", "s2"]
    assert [found.total for found in listed] == [3, 0, 1, 2]
    assert [found.last_active for found in listed] == [moments[number] for number in (3, 0, 1, 2)]
    assert [found.head for found in listed] == [head_of(number=number) for number in (3, 0, 1, 2)]


async def test_a_listing_follows_the_last_use(store: Store) -> None:
    change, mark = await create(store, "old", last_active="2025-01-01T00:00:00Z")
    await create(store, "new", last_active="2025-02-01T00:00:00Z")
    await store.write(following(change, mark, 1, last_active="2025-03-01T00:00:00Z"), limit=LIMIT)
    assert [listed.session_id for listed in await store.recent(10)] == ["old", "new"]


async def test_a_listing_of_a_session_with_a_large_head(store: Store) -> None:
    head = head_of(context={"topic": "x" * 50_000})
    await create(store, "s", 1, 2, head=head)
    (listed,) = await store.recent(10)
    assert (listed.head, listed.total, listed.last_active) == (head, 2, MOMENT)


async def test_a_listing_gives_no_more_than_asked_for(store: Store) -> None:
    for number in range(5):
        await create(store, f"s{number}", last_active=f"2025-11-1{number}T00:00:00Z")
    assert await store.recent(0) == []
    assert [listed.session_id for listed in await store.recent(2)] == ["s4", "s3"]
    assert len(await store.recent(5)) == len(await store.recent(100)) == 5


async def test_a_listing_reaches_behind_those_that_expired(world: World) -> None:
    """Two pages and more of sessions, every other one of which is gone: none that is there is left out."""
    number = 2 * PAGE + 50
    await asyncio.gather(
        *(
            create(world.store, f"s{place:04}", ttl=100 * (place % 2), last_active=_moment(place))
            for place in range(number)
        )
    )
    assert len(await world.store.recent(10 * number)) == number
    await world.wait(101)
    expected = [f"s{place:04}" for place in reversed(range(number)) if place % 2 == 0]
    assert [listed.session_id for listed in await world.store.recent(10 * number)] == expected
    assert [listed.session_id for listed in await world.store.recent(PAGE)] == expected[:PAGE]


def _moment(place: int) -> str:
    return f"2025-11-18T{place // 60:02}:{place % 60:02}:00Z"


# Executions and histories


@pytest.mark.parametrize("name", ODD_IDS)
async def test_an_execution_is_kept_under_its_id(store: Store, name: str) -> None:
    await store.put([execution(name, b'{"id":1}'), execution("neighbour", b'{"id":2}')])
    assert await store.execution(name) == b'{"id":1}'
    await store.put([execution(name, b'{"id":3}')])
    assert await store.execution(name) == b'{"id":3}'
    assert await store.execution("neighbour") == b'{"id":2}'
    assert await names(store, "execution") == sorted([(name,), ("neighbour",)])


async def test_records_travel_with_a_write(store: Store) -> None:
    records = [execution("e", b"{}"), entry("a"), entry("b")]
    change, mark = await create(store, "s", 1, records=records[:2])
    await store.write(following(change, mark, 2, records=records[2:]), limit=LIMIT)
    assert await store.execution("e") == b"{}"
    assert await store.entries("s", "f") == [records[1].data, records[2].data]


async def test_records_outlive_their_session(store: Store) -> None:
    await create(store, "s", 1, records=[execution("e", b"{}"), entry("a")])
    await store.delete("s", deleted_at=MOMENT, ttl=100)
    assert await store.execution("e") == b"{}"
    assert len(await store.entries("s", "f")) == 1


async def test_the_newest_entry_of_an_id_counts(store: Store) -> None:
    """And stands where the id first appeared."""
    await store.put([entry("a", status="running"), entry("b"), entry("a"), entry("c"), entry("b")])
    await store.put([entry("c")])
    assert await store.entries("s", "f") == [entry(name).data for name in "abc"]


async def test_repeated_entries_of_a_long_history_count_once(store: Store) -> None:
    """Also where the first one is too far back to be seen by a store that looks at the end only."""
    many = [entry(f"e{number:04}") for number in range(1000)]
    await store.put(many)
    await store.put(many[:10])
    assert await store.entries("s", "f") == [record.data for record in many]


@pytest.mark.parametrize("session_id", ODD_IDS)
async def test_a_history_belongs_to_one_flow_in_one_session(store: Store, session_id: str) -> None:
    flows = ["f", "f:g", "*"]
    await store.put([entry(flow, session_id, flow) for flow in flows])
    await store.put([entry("other", f"{session_id}:f", "g")])
    for flow in flows:
        assert await store.entries(session_id, flow) == [entry(flow).data]
    expected = [*((session_id, flow) for flow in flows), (f"{session_id}:f", "g")]
    assert await names(store, "history") == sorted(expected)


async def test_records_expire(world: World) -> None:
    await world.store.put([execution("e", ttl=100), execution("kept"), entry("a", ttl=100)])
    await world.store.put([entry("a", flow_id="kept")])
    await world.wait(90)
    await world.store.put([entry("b", ttl=100)])
    await world.wait(11)
    assert await world.store.execution("e") is None
    assert len(await world.store.entries("s", "f")) == 2, "the newest entry's time counts for the history"
    await world.wait(90)
    assert await world.store.entries("s", "f") == []
    assert await names(world.store, "execution") == [("kept",)]
    assert await names(world.store, "history") == [("s", "kept")]
    await world.store.put([entry("c", ttl=100)])
    assert await world.store.entries("s", "f") == [entry("c").data], "what expired does not come back"


async def test_nothing_to_put(store: Store) -> None:
    await store.put([])


# Upkeep


async def test_the_names_of_everything(store: Store) -> None:
    ids = [f"s{number:03}" for number in range(2 * PAGE + 1)]
    for session_id in ids:
        await create(store, session_id, records=[execution(session_id), entry("a", session_id)])
    assert await names(store, "session") == [(session_id,) for session_id in ids]
    assert await names(store, "execution") == [(session_id,) for session_id in ids]
    assert await names(store, "history") == [(session_id, "f") for session_id in ids]


async def test_the_store_serves_while_names_are_walked(store: Store) -> None:
    """Upkeep deletes what it walks over; nothing waits for it, and nothing is left out."""
    ids = {f"s{number:03}" for number in range(PAGE + 10)}
    for session_id in ids:
        await create(store, session_id)
    walked = set()
    async for (session_id,) in store.names("session"):
        walked.add(session_id)
        await store.delete(session_id, deleted_at=MOMENT, ttl=100)
    assert walked == ids
    assert await names(store, "session") == []


async def test_the_raw_bytes_are_the_readable_document(store: Store) -> None:
    head = head_of(id="s", context={"topic": "]}"})
    change, mark = await create(store, "s", 1, head=head)
    await store.write(following(change, mark, 2), limit=LIMIT)
    raw = await store.raw("s")
    document = json.loads(raw or b"")
    assert document["history"] == [json.loads(turn) for turn in lines(1, 2)]
    assert document["metadata"] == {"created_at": BORN, "last_active": MOMENT}
    assert (document["id"], document["context"]) == ("s", {"topic": "]}"})


async def test_the_raw_bytes_of_a_bare_session(store: Store) -> None:
    await create(store, head=b'{"metadata":{}}')
    document = json.loads(await store.raw("s") or b"")
    assert (document["history"], document["metadata"]) == ([], {"last_active": MOMENT})


async def test_reindex_counts_the_sessions(store: Store) -> None:
    for number in range(3):
        await create(store, f"s{number}", number)
    await store.delete("s0", deleted_at=MOMENT, ttl=100)
    assert await store.reindex() == 2
    assert {listed.session_id for listed in await store.recent(10)} == {"s1", "s2"}


async def test_a_store_that_serves_says_so(store: Store) -> None:
    facts = await store.check()
    assert facts
    assert json.loads(json.dumps(facts)) == facts


async def test_a_closed_store_opens_again(world: World) -> None:
    change, mark = await create(world.store, "s", 1)
    await world.store.close()
    await world.store.close()
    await world.store.write(following(change, mark, 2), limit=LIMIT)
    assert list((await found(world.store)).lines) == lines(1, 2)


async def test_another_opening_sees_the_same(world: World) -> None:
    other = world.open()
    change, mark = await create(world.store, "s", 1, records=[entry("a")])
    await other.write(following(change, mark, 2), limit=LIMIT)
    assert list((await found(world.store)).lines) == lines(1, 2)
    assert await other.entries("s", "f") == [entry("a").data]
    assert (other.name, other.where) == (world.store.name, world.store.where)


def test_versions_differ() -> None:
    assert len({new_version() for _ in range(1000)}) == 1000
