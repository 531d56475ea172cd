"""How often Redis is asked for a session."""

from __future__ import annotations

import pytest

from agentic_flywheel.jsontext import encode
from agentic_flywheel.stores import Store
from tests.stores.sessions import LIMIT, MOMENT, create, following, found, head_of, line, lines
from tests.stores.worlds import RedisWorld, opened
from tests.support.proxy import Proxy
from tests.support.servers import Server


@pytest.mark.parametrize("size", [100, 20_000])
async def test_a_head_of_any_size_is_read_at_once(redis_server: Server, size: int) -> None:
    """Who wrote it knows how much that is, and who has read it before."""
    async with Proxy(redis_server.port) as proxy, opened(RedisWorld(proxy.url)) as world:
        writer, reader = world.store, world.open()
        head = encode({"metadata": {}, "schema": 1, "context": {"notes": "x" * size}})
        await create(writer, "s", *range(30), head=head)
        assert await rounds(proxy, writer, "s", head) == 1
        await rounds(proxy, reader, "s", head)
        assert await rounds(proxy, reader, "s", head) == 1


async def test_a_short_session_is_read_by_one_command(redis_server: Server) -> None:
    """Once it was seen to be one; that others made it longer, or removed it, is noticed."""
    async with Proxy(redis_server.port) as proxy, opened(RedisWorld(proxy.url)) as world:
        store, other = world.store, world.open()
        change, mark = await create(store, "s", 1, 2)
        looks = [await looked(proxy, store) for _ in range(3)]
        assert looks == [(3, lines(2)), (1, lines(2)), (1, lines(2))]
        change = following(change, mark, 3, 4)
        mark = await other.write(change, limit=LIMIT)
        assert await looked(proxy, store) == (1, lines(4))
        await other.write(following(change, mark, *range(5, 40)), limit=LIMIT)
        looks = [await looked(proxy, store) for _ in range(2)]
        assert looks == [(4, lines(39)), (3, lines(39))]


@pytest.mark.parametrize("head", [100, 300_000])
async def test_newest_turns_of_any_length(redis_world: RedisWorld, head: int) -> None:
    """By plain range reads, however far back they begin and however long the head is."""
    sizes = [10, 3_000_000, 40_000, 40_000, *[20] * 3000, 700_000, 10, 2_500_000, *[500] * 30]
    turns = [line(number, size) for number, size in enumerate(sizes)]
    change, mark = await create(redis_world.store, head=head_of(context={"notes": "n" * head}))
    await redis_world.store.write(following(change, mark, added=turns), limit=100_000_000)
    await redis_world.raw.config_resetstat()
    store = redis_world.open()
    for last in (0, 1, 30, 31, 32, 33, 34, 500, 3033, 3036, 3037, 4000):
        stored = await found(store, last=last, touch=False)
        assert (list(stored.lines), stored.head) == (turns[max(len(turns) - last, 0) :], change.head)
        stored = await found(store, after=len(turns) - last, touch=False)
        assert list(stored.lines) == turns[max(len(turns) - last, 0) :]
    assert "cmdstat_evalsha" not in await redis_world.raw.info("commandstats")


async def test_a_history_with_fewer_turns_than_it_says(redis_world: RedisWorld) -> None:
    """Somebody joined two lines by hand; it is still a session."""
    await create(redis_world.store, "s", *range(2000))
    key = f"{redis_world.prefix}:session:s"
    raw = (await redis_world.store.raw("s") or b"").replace(b",\n", b", ", 1)
    await redis_world.raw.set(key, raw)
    for last, after in ((2000, None), (None, 0), (None, None)):
        stored = await found(redis_world.open(), last=last, after=after)
        assert (stored.foreign, stored.lines) == (True, lines(*range(2000)))


async def test_a_short_session_that_is_another_one_or_gone(redis_server: Server) -> None:
    world = RedisWorld(redis_server.url)
    async with opened(world):
        store = world.store
        await create(store, "s", 1)
        assert (await found(store, last=1)).lines == (await found(store, last=1)).lines == lines(1)
        foreign = b'{"backend":"custom","history":[{"id":"a"},{"id":"b"}]}'
        await world.raw.set(f"{world.prefix}:session:s", foreign)
        stored = await found(store, last=1)
        assert (stored.foreign, stored.lines) == (True, [b'{"id":"b"}'])
        await world.open().delete("s", deleted_at=MOMENT, ttl=60)
        assert await store.read("s", last=1) is None


async def looked(proxy: Proxy, store: Store) -> tuple[int, list[bytes]]:
    """How many commands it takes to read a session's last turn, and that turn."""
    start = len(proxy.requests)
    stored = await found(store, last=1, touch=False)
    sent = b"".join(proxy.requests[start:])
    return sent.count(b"GETRANGE") + sent.count(b"EVALSHA"), list(stored.lines)


async def rounds(proxy: Proxy, store: Store, session_id: str, head: bytes) -> int:
    """How many requests it takes to claim a session and read it."""
    start = len(proxy.requests)
    grant, stored = await store.claim_and_read(session_id, "a", b"{}", seconds=5, last=2)
    assert stored is not None
    assert stored.head == head
    assert (grant.found, len(stored.lines)) == (None, 2)
    return len(proxy.requests) - start
