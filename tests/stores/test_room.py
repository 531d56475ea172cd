"""Room for a head that outgrows its block before a long history: made a piece at a time, while others go on."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from agentic_flywheel.errors import Conflict
from agentic_flywheel.stores import Change, Mark
from agentic_flywheel.stores import redis_layout as layout
from agentic_flywheel.stores.base import Store
from agentic_flywheel.stores.redis_carriers import carrier
from agentic_flywheel.stores.redis_room import move_piece
from tests.stores.sessions import HEAD, MOMENT, create, following, found, head_of, line
from tests.stores.worlds import RedisWorld

BIG = 100_000_000
SIZES = [10_000] * 150 + [20] * 300 + [1_500_000, 700_000] + [300] * 2000 + [60_000] * 20
"""Of turns, in the letters that make two bytes: longer ones than a piece are among them."""


class Long:
    """A session of some megabytes, and what it holds by now."""

    def __init__(self, world: RedisWorld, change: Change, mark: Mark, turns: list[bytes]) -> None:
        self.world = world
        self.pipe = carrier(world.url)
        self.change = change
        self.mark = mark
        self.turns = turns

    async def ask(self, offset: int) -> int | None:
        return await move_piece(self.pipe, f"{self.world.prefix}:session:s", self.mark.epoch, offset)

    async def step(self, offset: int) -> int:
        """Move the next piece; where the gap is then."""
        answer = await self.ask(offset)
        assert answer is not None
        return answer

    async def append(self, store: Store | None = None, head: bytes | None = None) -> None:
        """One more turn, and maybe another head."""
        number = len(self.turns)
        change = following(self.change, self.mark, number, **({"head": head} if head else {}))
        self.mark = await (store or self.world.store).write(change, limit=BIG)
        self.change = change
        self.turns.append(line(number))

    async def check(self) -> None:
        """Whoever reads it finds it as it is: another program, and we, in each way."""
        raw = await self.world.store.raw("s") or b""
        assert json.loads(raw)["history"] == [json.loads(turn) for turn in self.turns]
        assert layout.parse(raw).lines == self.turns
        for last in (1, 25):
            assert (await found(self.world.store, last=last)).lines == self.turns[-last:]
        after = len(self.turns) - 2100
        stored = await found(self.world.store, after=after)
        assert (stored.head, stored.lines) == (self.change.head, self.turns[after:])


@pytest.fixture
async def long(redis_world: RedisWorld) -> AsyncIterator[Long]:
    change, mark = await create(redis_world.store)
    turns = [line(number, size) for number, size in enumerate(random.Random(7).sample(SIZES, len(SIZES)))]
    change = replace(following(change, mark), added=turns)
    long = Long(redis_world, change, await redis_world.store.write(change, limit=BIG), turns)
    yield long
    await long.pipe.close()


@pytest.mark.parametrize("room", [600, 100_000, 3_000_000])
async def test_a_session_is_whole_at_each_step(long: Long, room: int) -> None:
    """Whether the room is smaller than a piece or larger, and although others append."""
    begun = layout.parse(await long.world.store.raw("s") or b"")
    steps = 0
    while gap := await long.step(room):
        steps += 1
        document = json.loads(await long.world.store.raw("s") or b"")
        assert document["layout"]["gap"][0] == gap
        if steps % 4 == 1:
            await long.append()
        await long.check()
    assert steps > 3
    await long.check()
    raw = await long.world.store.raw("s") or b""
    document = json.loads(raw)
    assert document["layout"]["gap"] == [0, 0]
    assert document["layout"]["head"] >= room
    assert layout.parse(raw).head == begun.head
    assert raw.count(b"\n ") == 0


async def test_a_head_gets_its_room(long: Long) -> None:
    """A save that wants it makes it; the next ones find it."""
    for number in range(1, 4):
        head = head_of(context={"notes": "n" * 40_000 * number})
        await long.append(head=head)
        await long.check()


async def test_another_goes_on_where_one_died(long: Long) -> None:
    """One who wants still more room than the first one, too."""
    for _ in range(3):
        assert await long.step(30_000) > 0
    await long.append(long.world.open(), head_of(context={"notes": "n" * 1_000_000}))
    await long.check()
    document = json.loads(await long.world.store.raw("s") or b"")
    assert document["layout"]["gap"] == [0, 0]


async def test_two_who_want_room_at_once(long: Long) -> None:
    """Neither undoes what the other did; one of them comes too late, as ever."""

    async def write(size: int) -> tuple[Change, Mark]:
        change = following(long.change, long.mark, head=head_of(context={"notes": "n" * size}))
        return change, await long.world.open().write(change, limit=BIG)

    done = await asyncio.gather(write(300_000), write(900_000), return_exceptions=True)
    ((long.change, long.mark),) = [each for each in done if not isinstance(each, BaseException)]
    assert [type(each) for each in done if isinstance(each, BaseException)] == [Conflict]
    await long.append()
    await long.check()


async def test_reading_all_of_it_meanwhile(long: Long) -> None:
    """What is read in pieces is the session as it was, or is read again."""
    store = long.world.open()

    async def make_room() -> None:
        for size in range(1, 9):
            await long.append(store, head_of(context={"notes": "n" * 100_000 * size}))

    known = list(long.turns)
    making = asyncio.create_task(make_room())
    while not making.done():
        stored = await found(long.world.store)
        assert stored.lines[: len(known)] == known
        assert stored.mark.total == len(stored.lines)
    await making
    await long.check()


async def test_a_rewrite_ends_it(long: Long) -> None:
    """Whoever was at it is told that the history is another one."""
    assert await long.step(30_000) > 0
    assert await long.step(30_000) > 0
    history = [line(1), line(2)]
    change = Change("s", long.mark, HEAD, HEAD, MOMENT, MOMENT, history=history)
    await long.world.store.write(change, limit=BIG)
    assert await long.ask(30_000) is None
    assert (await found(long.world.store)).lines == history


async def test_what_has_the_room_is_left_as_it_is(long: Long) -> None:
    raw = await long.world.store.raw("s")
    assert await long.step(100) == 0
    assert await long.world.store.raw("s") == raw
