"""How often Redis is asked for a session."""

from __future__ import annotations

import pytest

from agentic_flywheel.jsontext import encode
from agentic_flywheel.stores import Store
from tests.stores.sessions import create
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


async def rounds(proxy: Proxy, store: Store, session_id: str, head: bytes) -> int:
    """How many requests it takes to claim a session and read it."""
    start = len(proxy.requests)
    grant, stored = await store.claim_and_read(session_id, "a", b"{}", seconds=5, last=2)
    assert stored is not None
    assert stored.head == head
    assert (grant.found, len(stored.lines)) == (None, 2)
    return len(proxy.requests) - start
