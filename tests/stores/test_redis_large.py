"""What is written to a session of so many bytes that no script is handed them, and what that depends on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from agentic_flywheel.errors import Conflict, Fenced, TooLarge, Unavailable
from agentic_flywheel.jsontext import encode
from agentic_flywheel.stores import Change, Mark, Record
from agentic_flywheel.stores import redis_layout as layout
from agentic_flywheel.stores.names import name_of
from agentic_flywheel.stores.redis_carriers import carrier
from agentic_flywheel.stores.redis_pieces import PIECE, read_watched
from agentic_flywheel.stores.redis_pipe import Carrier
from agentic_flywheel.stores.redis_watch import LARGE
from tests.stores.sessions import HEAD, LIMIT, MOMENT, append_stubbornly, create, following, found, head_of, line
from tests.stores.worlds import RedisWorld

OLD, NEW = [line(number, LARGE // 4) for number in range(4)], [line(number, LARGE // 4) for number in range(10, 14)]
LONG = line(20, LARGE)
WIDE = head_of(context={"notes": "n" * LARGE})
MOST = 4 * LIMIT


@pytest.fixture
def world(each_redis: RedisWorld) -> RedisWorld:
    return each_redis


async def document(world: RedisWorld) -> dict[str, Any]:
    """The session as others read it."""
    read: dict[str, Any] = json.loads(await world.store.raw("s") or b"")
    return read


async def calls(world: RedisWorld) -> dict[str, int]:
    """How often each command was called since the last time."""
    stats = await world.raw.info("commandstats")
    await world.raw.config_resetstat()
    return {name.removeprefix("cmdstat_"): said["calls"] for name, said in stats.items()}


@asynccontextmanager
async def busy(touch: Callable[[], Any]) -> AsyncIterator[None]:
    """Somebody else who does something all the time."""

    async def go_on() -> None:
        while True:
            await touch()

    task = asyncio.create_task(go_on())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()


class TestPutInPlace:
    """Sessions that are written whole: created, edited, forked, copied."""

    @pytest.mark.parametrize("session_id", ["s", name_of("0" * 32, "s"), "{odd}:*"])
    @pytest.mark.parametrize("ttl", [0, 100])
    async def test_it_is_there_with_its_time_to_live(self, world: RedisWorld, session_id: str, ttl: int) -> None:
        """Created as well as replaced; it goes on by appends, and nothing is left beside it."""
        change, mark = await create(world.store, session_id, added=OLD, ttl=ttl)
        assert (await found(world.store, session_id)).lines == OLD
        rewrite = following(change, mark, history=NEW)
        mark = await world.store.write(rewrite, limit=LIMIT)
        await world.store.write(following(rewrite, mark, 20), limit=LIMIT)
        assert (await found(world.store, session_id)).lines == [*NEW, line(20)]
        (key,) = [key async for key in world.raw.scan_iter(match=f"{world.prefix}:session:*")]
        assert await world.raw.ttl(key) in ((-1,) if not ttl else range(1, ttl + 1))

    async def test_what_is_refused_changes_nothing(self, world: RedisWorld) -> None:
        """Written by others meanwhile, or under a claim that is over, or there already."""
        change, mark = await create(world.store, "s", added=OLD, fence=7)
        stale = Mark("0" * 16, mark.epoch, mark.revision, mark.total)
        for refused, error in (
            (following(change, stale, history=NEW), Conflict),
            (following(change, mark, history=NEW, fence=6), Fenced),
        ):
            with pytest.raises(error):
                await world.store.write(refused, limit=LIMIT)
        with pytest.raises(Conflict, match="present"):
            await create(world.store, "s", added=NEW)
        assert (await found(world.store, "s")).lines == OLD

    async def test_the_highest_fence_stays(self, world: RedisWorld) -> None:
        change, mark = await create(world.store, "s", added=OLD, fence=7)
        await world.store.write(following(change, mark, history=NEW), limit=LIMIT)
        assert (await document(world))["layout"]["fence"] == 7

    async def test_written_twice_it_is_one_write(self, world: RedisWorld) -> None:
        """As when the first answer was lost."""
        change, mark = await create(world.store, "s", added=OLD)
        rewrite = following(change, mark, history=NEW)
        assert await world.store.write(rewrite, limit=LIMIT) == await world.store.write(rewrite, limit=LIMIT)


class TestAppended:
    """Turns, and heads, that are large."""

    @pytest.mark.parametrize("ttl", [0, 100])
    async def test_turns_and_heads_of_any_size_in_turn(self, world: RedisWorld, ttl: int) -> None:
        """Each finds what the others wrote, with its time to live."""
        change, mark = await create(world.store, "s", ttl=ttl)
        turns: list[bytes] = []
        for head, added in [(HEAD, [LONG]), (WIDE, []), (WIDE, [line(1)]), (WIDE, [LONG, LONG]), (HEAD, [line(2)])]:
            change = following(change, mark, added=added, head=head)
            mark = await world.store.write(change, limit=MOST)
            turns += added
            stored = await found(world.store, "s", last=1)
            assert (stored.mark, stored.head, list(stored.lines)) == (replace(mark, size=0), head, turns[-1:])
            assert (await document(world))["history"] == [json.loads(turn) for turn in turns]
        assert layout.parse(await world.store.raw("s") or b"").lines == turns
        assert await world.raw.ttl(f"{world.prefix}:session:s") in ((-1,) if not ttl else range(1, ttl + 1))

    async def test_no_script_is_handed_them(self, redis_world: RedisWorld) -> None:
        """It would copy them, and hold Redis up for so long; a small one does."""
        change, mark = await create(redis_world.store, "s", 1)
        await calls(redis_world)
        for turn, transactions in ((line(2), 0), (LONG, 1)):
            change = following(change, mark, added=[turn])
            mark = await redis_world.store.write(change, limit=LIMIT)
            called = await calls(redis_world)
            assert (called.get("exec", 0), called.get("evalsha", 0)) == (transactions, 1 - transactions)

    async def test_what_is_refused_changes_nothing(self, world: RedisWorld) -> None:
        """Written by others meanwhile, under a claim that is over, too much, or not there any more."""
        change, mark = await create(world.store, "s", 1, fence=7)
        before = await world.store.raw("s")
        stale = Mark("0" * 16, mark.epoch, mark.revision, mark.total)
        for refused, limit, error in (
            (following(change, stale, added=[LONG]), LIMIT, Conflict),
            (following(change, mark, added=[LONG], fence=6), LIMIT, Fenced),
            (following(change, mark, added=[LONG]), LARGE, TooLarge),
            (following(change, mark, head=WIDE), LARGE, TooLarge),
        ):
            with pytest.raises(error):
                await world.store.write(refused, limit=limit)
        assert await world.store.raw("s") == before
        await world.store.delete("s", deleted_at=MOMENT, ttl=60)
        with pytest.raises(Conflict, match="absent"):
            await world.store.write(following(change, mark, added=[LONG]), limit=LIMIT)

    async def test_written_twice_it_is_one_write(self, world: RedisWorld) -> None:
        change, mark = await create(world.store, "s", 1)
        change = following(change, mark, added=[LONG])
        assert await world.store.write(change, limit=LIMIT) == await world.store.write(change, limit=LIMIT)
        assert (await found(world.store, "s")).lines == [line(1), LONG]

    async def test_it_gives_up_the_claim_of_its_turn(self, world: RedisWorld) -> None:
        change, mark = await create(world.store, "s")
        await world.store.claim("s", "t", b"{}", seconds=30)
        await world.store.write(following(change, mark, added=[LONG], releases="t"), limit=LIMIT)
        assert await world.store.claimed("s") is None

    async def test_two_writers_keep_every_turn(self, world: RedisWorld) -> None:
        await create(world.store, "s")
        mine = [line(number, LARGE // (1 + number % 2)) for number in range(6)]
        others = [line(number, LARGE // (1 + number % 2)) for number in range(100, 106)]
        await asyncio.gather(
            append_stubbornly(world.store, "s", mine), append_stubbornly(world.open(), "s", others)
        )
        assert sorted((await found(world.store, "s")).lines) == sorted([*mine, *others])

    async def test_others_who_only_start_its_time_again(self, redis_world: RedisWorld) -> None:
        """Whoever looks while somebody writes does not keep the write from being done."""
        change, mark = await create(redis_world.store, "s", ttl=100)
        key = f"{redis_world.prefix}:session:s"
        async with busy(lambda: asyncio.gather(redis_world.raw.expire(key, 100), asyncio.sleep(0.002))):
            for number in range(1, 6):
                change = following(
                    change, mark, added=[LONG], head=head_of(context={"notes": "n" * LARGE * number})
                )
                mark = await redis_world.store.write(change, limit=MOST)
        assert (await found(redis_world.store, "s")).lines == [LONG] * 5


class TestClaims:
    """Of turns with a large question, which is in the note of the claim."""

    NOTE = encode({"question": "q" * LARGE})

    async def test_it_is_held_and_given_up_as_any_other(self, redis_world: RedisWorld) -> None:
        store = redis_world.store
        await calls(redis_world)
        grant = await store.claim("s", "a", self.NOTE, seconds=30)
        assert (await store.claim("s", "a", self.NOTE, seconds=60)).fence == grant.fence
        assert "evalsha" not in await calls(redis_world)
        claim = await store.claimed("s")
        assert claim is not None
        assert (claim.turn_id, claim.note, claim.ended, claim.fence) == ("a", self.NOTE, False, grant.fence)
        await store.release("s", "b")
        assert await store.claimed("s") == claim
        await store.release("s", "a")
        assert await store.claimed("s") is None

    @pytest.mark.parametrize("note", [b"{}", NOTE])
    async def test_another_finds_it(self, world: RedisWorld, note: bytes) -> None:
        """While it is held, once it has ended, and when it gives way."""
        store = world.store
        await create(store, "s", 1)
        first = await store.claim("s", "a", self.NOTE, seconds=30)
        refused, _ = await store.claim_and_read("s", "b", note, seconds=30, last=1)
        assert (refused.fence, refused.found and refused.found.turn_id) == (0, "a")
        given = await store.claim("s", "b", note, seconds=0, instead="a")
        assert given.fence > first.fence
        assert given.found is not None
        assert (given.found.turn_id, given.found.note, given.found.ended) == ("a", self.NOTE, True)
        await store.claim("s", "c", self.NOTE, seconds=0, instead="b")
        granted, stored = await store.claim_and_read("s", "d", note, seconds=30, last=1)
        assert granted.found is not None
        assert (granted.found.turn_id, granted.found.note) == ("c", self.NOTE)
        assert stored is not None
        assert stored.lines == [line(1)]


class TestHistories:
    """Entries of turns with a large question, in the history of a flow."""

    def record(self, name: str, size: int = LARGE) -> Record:
        return Record("history", name, encode({"id": name, "q": "q" * size}), 100, session_id="s", flow_id="f")

    async def test_each_is_there_once(self, world: RedisWorld) -> None:
        """Among small ones, with its time to live."""
        records = [self.record("a"), self.record("b", 10), self.record("c"), self.record("d", 10)]
        for record in records:
            await world.store.put([record])
            await world.store.put([record])
        assert await world.store.entries("s", "f") == [record.data for record in records]
        assert 0 < await world.raw.ttl(f"{world.prefix}:history:s:f") <= 100

    async def test_it_goes_with_its_turn(self, world: RedisWorld) -> None:
        change, mark = await create(world.store, "s", records=[self.record("a")])
        change = following(change, mark, added=[LONG], records=[self.record("b"), self.record("c", 10)])
        await world.store.write(change, limit=LIMIT)
        assert await world.store.entries("s", "f") == [
            self.record(name, size).data for name, size in [("a", LARGE), ("b", LARGE), ("c", 10)]
        ]

    async def test_after_what_somebody_else_wrote(self, world: RedisWorld) -> None:
        key = f"{world.prefix}:history:s:f"
        await world.raw.set(key, b'[{"id": "old"}]')
        await world.store.put([self.record("a")])
        assert await world.store.entries("s", "f") == [b'{"id":"old"}', self.record("a").data]
        await world.raw.set(key, b"nothing of ours")
        await world.store.put([self.record("a")])
        assert await world.raw.get(key) == b"nothing of ours"

    async def test_a_long_one_is_read_in_pieces(self, redis_world: RedisWorld) -> None:
        records = [self.record(str(number), PIECE // 3) for number in range(8)]
        await redis_world.store.put(records)
        await calls(redis_world)
        assert await redis_world.store.entries("s", "f") == [record.data for record in records]
        assert "get" not in await calls(redis_world)


class TestSomebodyElses:
    """Large documents that others wrote."""

    RAW = json.dumps({"backend": "x", "history": [{"a": "é" * 1000} for _ in range(PIECE // 2000)]}).encode()

    async def put(self, world: RedisWorld, raw: bytes) -> None:
        await world.raw.set(f"{world.prefix}:session:s", raw)

    async def take_over(self, world: RedisWorld) -> Change:
        stored = await found(world.store, "s", last=2)
        assert (stored.foreign, len(stored.lines)) == (True, 2)
        return Change("s", stored.mark, HEAD, HEAD, MOMENT, MOMENT, history=NEW, fence=3)

    async def test_it_is_taken_over(self, world: RedisWorld) -> None:
        await self.put(world, self.RAW)
        assert len(self.RAW) > PIECE
        change = await self.take_over(world)
        assert await world.store.write(change, limit=LIMIT) == await world.store.write(change, limit=LIMIT)
        assert (await found(world.store, "s")).lines == NEW

    @pytest.mark.parametrize("now", [RAW + b"\n", b"{}", None])
    async def test_it_is_another_one_by_now(self, world: RedisWorld, now: bytes | None) -> None:
        await self.put(world, self.RAW)
        change = await self.take_over(world)
        key = f"{world.prefix}:session:s"
        await (world.raw.delete(key) if now is None else self.put(world, now))
        with pytest.raises(Conflict, match="absent" if now is None else "changed"):
            await world.store.write(change, limit=LIMIT)
        assert await world.raw.get(key) == now

    async def test_it_changes_while_it_is_read(self, world: RedisWorld) -> None:
        """What is read is what was there at one moment, or is read at one go."""
        await self.put(world, self.RAW)
        spoilt = self.RAW.replace(b"x", b"y", 1)
        both = {json.loads(raw)["backend"] for raw in (self.RAW, spoilt)}

        async def write() -> None:
            await self.put(world, spoilt)
            await self.put(world, self.RAW)

        async with busy(write):
            for _ in range(3):
                stored = await found(world.store, "s", touch=False)
                assert json.loads(stored.head)["backend"] in both
                assert len(stored.lines) == PIECE // 2000


class TestWatching:
    """The connection on which a key is watched."""

    @pytest.fixture
    async def pipe(self, redis_world: RedisWorld) -> AsyncIterator[Carrier]:
        made = carrier(redis_world.url)
        yield made
        await made.close()

    @pytest.fixture
    async def key(self, redis_world: RedisWorld) -> str:
        await redis_world.raw.set(f"{redis_world.prefix}:k", "before")
        return f"{redis_world.prefix}:k"

    async def test_nothing_is_written_where_somebody_else_was_first(
        self, redis_world: RedisWorld, pipe: Carrier, key: str
    ) -> None:
        async with pipe.watching(key) as watcher:
            assert await watcher.watch(key, ("GET", key)) == [b"before"]
            await redis_world.raw.set(key, "others")
            assert not await watcher.write(("SET", key, "ours"))
            assert await watcher.watch(key) == []
            assert await watcher.write(("SET", key, "ours"))
        assert await redis_world.raw.get(key) == b"ours"

    async def test_nothing_is_written_once_the_connection_was_lost(
        self, redis_world: RedisWorld, pipe: Carrier, key: str
    ) -> None:
        """A new one would know nothing of what was watched."""
        async with pipe.watching(key) as watcher:
            await watcher.watch(key)
            for client in await redis_world.raw.client_list():
                if client["cmd"] == "watch":
                    await redis_world.raw.client_kill_filter(_id=client["id"])
            with pytest.raises(Unavailable):
                await watcher.write(("SET", key, "ours"))
        assert await redis_world.raw.get(key) == b"before"
        async with pipe.watching(key) as watcher:
            await watcher.watch(key)
            assert await watcher.write(("SET", key, "ours"))

    async def test_one_that_is_given_up_leaves_nothing_to_the_next(
        self, redis_world: RedisWorld, pipe: Carrier, key: str
    ) -> None:
        async with pipe.watching(key) as watcher:
            await watcher.watch(key)
        await redis_world.raw.set(key, "others")
        async with pipe.watching("another") as watcher:
            await watcher.watch("another")
            assert await watcher.write(("SET", key, "ours"))

    async def test_one_after_the_other(self, pipe: Carrier, key: str) -> None:
        async def count() -> None:
            async with pipe.watching(key) as watcher:
                await watcher.watch(key)
                value = int(await watcher.ask("GET", key))
                assert await watcher.write(("SET", key, value + 1))

        await pipe.one("SET", key, 0)
        await asyncio.gather(*(count() for _ in range(20)))
        assert await pipe.one("GET", key) == b"20"

    async def test_what_changes_is_not_put_together(self, redis_world: RedisWorld, pipe: Carrier, key: str) -> None:
        assert await read_watched(pipe, key) == b"before"
        await redis_world.raw.set(key, b"x" * 8 * PIECE)
        reading = asyncio.create_task(read_watched(pipe, key))
        await asyncio.sleep(0.005)
        await redis_world.raw.setrange(key, 0, b"y")
        assert await reading in (None, b"y" + b"x" * (8 * PIECE - 1))
