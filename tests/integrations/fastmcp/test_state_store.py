"""FastMCP's own sessions on our store: they last, and writes at once are merged key by key."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.context import Context
from fastmcp.server.dependencies import get_session
from fastmcp.server.sessions import SessionId, SessionProvider
from key_value.aio.errors import InvalidTTLError
from key_value.aio.protocols.key_value import AsyncKeyValueProtocol
from mcp import MCPError
from redis import Redis

from agentic_flywheel import UniversalSession
from agentic_flywheel.errors import StoreError, Unavailable
from agentic_flywheel.integrations.fastmcp import SessionStateStore
from agentic_flywheel.integrations.fastmcp.state_store import OWNER
from agentic_flywheel.stores.owned import acting_as
from tests.support.servers import Server


@pytest.fixture
async def store(url: str) -> AsyncIterator[SessionStateStore]:
    async with SessionStateStore(url) as store:
        yield store


def server_on(store: SessionStateStore) -> FastMCP[Any]:
    """A server that uses FastMCP's sessions as its documentation shows."""
    server: FastMCP[Any] = FastMCP(
        "notes", providers=[SessionProvider()], session_state_store=store, lifespan=store.lifespan
    )

    @server.tool
    async def put(session_id: SessionId, key: str, value: Any) -> None:
        await (await get_session(session_id)).set(key, value)

    @server.tool
    async def get(session_id: SessionId, key: str) -> dict[str, Any]:
        return {"result": await (await get_session(session_id)).get(key)}

    @server.tool
    async def delete(session_id: SessionId, key: str) -> None:
        await (await get_session(session_id)).delete(key)

    @server.tool
    async def clear(session_id: SessionId) -> None:
        await (await get_session(session_id)).clear()

    @server.tool
    async def hold_on(session_id: SessionId, client: Context) -> int:
        seen = await client.get_state("seen") or 0
        await client.set_state("seen", seen + 1)
        return int(seen)

    return server


async def call(client: Client[Any], tool: str, **arguments: Any) -> Any:
    return ((await client.call_tool(tool, arguments)).structured_content or {}).get("result")


async def test_a_session_lasts_and_ends(url: str, mode: str) -> None:
    """Longer than the server; what is deleted, cleared or ended is gone."""
    async with Client(server_on(SessionStateStore(url)), mode=mode) as client:
        session_id = await call(client, "create_session")
        await call(client, "put", session_id=session_id, key="cart", value={"items": ["tea"], "state": {"a": 1}})
        await call(client, "put", session_id=session_id, key="", value=[1, None, "x"])
    async with Client(server_on(SessionStateStore(url)), mode=mode) as client:
        assert await call(client, "get", session_id=session_id, key="") == [1, None, "x"]
        cart = await call(client, "get", session_id=session_id, key="cart")
        assert cart == {"items": ["tea"], "state": {"a": 1}}
        await call(client, "delete", session_id=session_id, key="cart")
        assert await call(client, "get", session_id=session_id, key="cart") is None
        await call(client, "clear", session_id=session_id)
        assert await call(client, "get", session_id=session_id, key="") is None
        await call(client, "end_session", session_id=session_id)
        with pytest.raises(ToolError, match="Invalid or unknown session"):
            await call(client, "get", session_id=session_id, key="cart")


async def test_writes_at_once_lose_nothing(url: str, mode: str) -> None:
    """A hundred keys set at once through two servers on one store: each is there."""
    async with (
        Client(server_on(SessionStateStore(url)), mode=mode) as here,
        Client(server_on(SessionStateStore(url)), mode=mode) as there,
    ):
        session_id = await call(here, "create_session")
        clients = [here, there] * 50
        await asyncio.gather(
            *(call(each, "put", session_id=session_id, key=str(n), value=n) for n, each in enumerate(clients))
        )
        for n in range(100):
            assert await call(here, "get", session_id=session_id, key=str(n)) == n


async def test_the_state_of_a_connection(url: str) -> None:
    """``Context.set_state`` is kept there too, for the time that FastMCP says."""
    async with Client(server_on(SessionStateStore(url)), mode="legacy") as client:
        for n in range(3):
            assert await call(client, "hold_on", session_id="any") == n


async def read_and_add(store: SessionStateStore, key: str, all_have_read: asyncio.Barrier) -> None:
    """What FastMCP's ``Session.set`` does, and stands still in the middle."""
    entry = await store.get("k")
    assert entry is not None
    await all_have_read.wait()
    entry["value"]["state"][key] = key
    await store.put("k", entry)


async def test_what_others_changed_since_the_read_is_kept(url: str) -> None:
    """Each of many reads the same state and puts its own key into it: by two stores on one server."""
    async with SessionStateStore(url) as here, SessionStateStore(url) as there:
        await here.put("k", {"value": {"_created": 1.5, "state": {"old": 1}}})
        barrier = asyncio.Barrier(50)
        await asyncio.gather(*(read_and_add(each, str(n), barrier) for n, each in enumerate([here, there] * 25)))
        entry = await there.get("k")
    assert entry == {"value": {"_created": 1.5, "state": {"old": 1, **{str(n): str(n) for n in range(50)}}}}


async def test_a_first_write_at_once_loses_nothing(url: str) -> None:
    """Also where nothing was there before, as for a user's own state."""
    async with SessionStateStore(url) as here, SessionStateStore(url) as there:
        assert await here.get("k") is None
        await there.put("k", {"value": {"state": {"theirs": 1}}})
        await here.put("k", {"value": {"state": {"ours": 1}}})
        assert await here.get("k") == {"value": {"state": {"theirs": 1, "ours": 1}}}


async def test_an_ended_state_is_not_brought_back(url: str) -> None:
    """By who has read it before; who begins anew may."""
    async with SessionStateStore(url) as here, SessionStateStore(url) as there:
        await here.put("k", {"value": {"state": {"a": 1}}})
        await here.get("k")
        assert await asyncio.create_task(there.delete("k"))
        with pytest.raises(StoreError, match="the state was not saved"):
            await here.put("k", {"value": {"state": {"a": 2}}})
        assert await there.get("k") is None
        await there.put("k", {"value": {"state": {"new": 1}}})
        assert await here.get("k") == {"value": {"state": {"new": 1}}}


@pytest.mark.parametrize(
    "value",
    [{}, {"value": None}, {"value": {"state": 1}}, {"value": {"state": {}}}, {"a": {"deep": [1, {"b": None}]}}],
)
async def test_what_is_put_is_what_is_got(store: SessionStateStore, value: dict[str, Any]) -> None:
    """Whatever form it has, and whatever was there before."""
    await store.put("k", {"value": {"state": {"x": 1}}, "more": 2})
    await store.put("k", value)
    assert await store.get("k") == value
    await store.put("k", {"value": {"_created": 1, "state": {"y": 1}}})
    assert await store.get("k") == {"value": {"_created": 1, "state": {"y": 1}}}


async def test_a_put_replaces_what_was_not_read(store: SessionStateStore) -> None:
    """As the protocol says: of a value that was put without a look, nothing is merged in."""
    await store.put("k", {"value": {"state": {"a": 1, "b": 1}}})
    await store.put("k", {"value": {"state": {"a": 2}}})
    assert await store.get("k") == {"value": {"state": {"a": 2}}}


async def test_keys_and_collections_are_apart(store: SessionStateStore) -> None:
    """Any text is a key; a collection is a space of its own."""
    keys = ["a:b", "b", "*", "{x}", "é\n\0", "k" * 5000, "", "a"]
    spaces = [None, "a", "b", "default_collection"]
    places = [(key, space) for key in keys for space in spaces]
    for n, (key, space) in enumerate(places):
        await store.put(key, {"n": n}, collection=space)
    for n, (key, space) in enumerate(places):
        assert await store.get(key, collection=space) == {"n": n}


async def test_several_at_a_time(store: SessionStateStore) -> None:
    """The rest of the protocol."""
    assert isinstance(store, AsyncKeyValueProtocol)
    await store.put_many(["a", "b"], [{"n": 1}, {"n": 2}], ttl=100)
    assert await store.get_many(["a", "none", "b"]) == [{"n": 1}, None, {"n": 2}]
    (value, left), nothing = await store.ttl_many(["b", "none"])
    assert (value, nothing) == ({"n": 2}, (None, None))
    assert left is not None
    assert 90 < left <= 100
    assert await store.delete_many(["a", "none", "b"]) == 2
    assert await store.delete("a") is False


async def test_a_time_to_live_is_from_the_put_on(store: SessionStateStore) -> None:
    """Reading does not prolong it; what has expired is not there, and not a part of what is put next."""
    await store.put("k", {"value": {"state": {"old": 1}}}, ttl=0.05)
    while await store.get("k") is not None:  # noqa: ASYNC110  # a clock has no event
        await asyncio.sleep(0.005)
    assert await store.ttl("k") == (None, None)
    await store.put("k", {"value": {"state": {"new": 1}}})
    assert await store.ttl("k") == ({"value": {"state": {"new": 1}}}, None)


async def test_an_entry_expires_in_the_store_too(redis_url: str) -> None:
    """It does not stay there for nobody: Redis has the time to live, rounded up to seconds."""
    async with SessionStateStore(redis_url) as store:
        await store.put("k", {"n": 1}, ttl=99.5)
        with closing(Redis.from_url(redis_url)) as client:
            (key,) = client.scan_iter(f"{os.environ['FLYWHEEL_PREFIX']}:session:*:fastmcp_*")
            assert 98_000 < client.pttl(key) <= 100_000


@pytest.mark.parametrize("ttl", [0, -1, True, float("nan"), float("inf")])
async def test_a_time_to_live_that_is_none_is_refused(sqlite_url: str, ttl: float) -> None:
    """As py-key-value's own stores do."""
    async with SessionStateStore(sqlite_url) as store:
        with pytest.raises(InvalidTTLError):
            await store.put("k", {}, ttl=ttl)


async def test_a_store_that_is_away_is_not_empty(own_server: Server) -> None:
    """A read is an error then, and no answer that there is nothing."""
    async with SessionStateStore(own_server.url) as store:
        await store.put("known", {"n": 1})
        own_server.kill()
        assert await store.get("known") == {"n": 1}  # this machine has seen it
        with pytest.raises(Unavailable):
            await store.get("unknown")


async def test_a_server_on_a_store_that_is_away_answers_with_errors(own_server: Server, mode: str) -> None:
    """FastMCP asks its store at each request what a client is shown; the older era says why it failed."""
    said = {"legacy": "Redis cannot be reached", "auto": "Internal server error"}
    async with Client(server_on(SessionStateStore(own_server.url)), mode=mode) as client:
        assert len(await client.list_tools()) == 7
        own_server.kill()
        with pytest.raises(MCPError, match=said[mode]):
            await client.list_tools()


async def test_somebody_s_session_is_no_entry(sqlite_url: str) -> None:
    """A session that somebody made under the name of an entry is not taken for one, nor touched."""
    async with SessionStateStore(sqlite_url) as store:
        await store.put("k", {"n": 1})
        with acting_as(OWNER):
            (entry,) = await store.manager.list_sessions()
        made = UniversalSession(id=entry.id, backend="x", context={"value": {"n": 2}})
        await store.manager.save_session(made)
        assert await store.get("k") == {"n": 1}
        await store.delete("k")
        assert await store.get("k") is None
        assert await store.manager.require(entry.id) == made
