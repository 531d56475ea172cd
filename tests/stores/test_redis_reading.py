"""How often Redis is asked for a session."""

from __future__ import annotations

import pytest

from agentic_flywheel.jsontext import encode
from agentic_flywheel.stores import Store
from tests.stores.sessions import LIMIT, MOMENT, create, following, found, lines
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
        assert looks == [(2, lines(39)), (3, lines(39))]


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
