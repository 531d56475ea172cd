"""Typed state of a session, given to tools by the SDK's own injection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.server import MCPServer
from pydantic import BaseModel

from agentic_flywheel.integrations.mcp import DurableSessions, State
from agentic_flywheel.integrations.tool_sessions import holds as holds_module
from tests.integrations.mcp.carts import Cart, add_tools
from tests.integrations.mcp.conftest import server_with, visiting


async def test_state_is_there_at_the_next_call(url: str, mode: str) -> None:
    """A session begins with an empty state; what one call changed, the next one has; sessions do not mix."""
    sessions = DurableSessions(url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions, mode) as shop:
        one, other = await shop.begin(), await shop.begin()
        assert await shop.call("add", session_id=one, item="tea") == ["tea"]
        assert await shop.call("add_in_a_thread", session_id=one, item="cup") == ["tea", "cup"]
        assert await shop.call("look", session_id=one) == ["tea", "cup"]
        assert await shop.call("look", session_id=other) == []


async def test_a_model_never_sees_the_state(sqlite_url: str) -> None:
    """The tool's schema has its session_id and its own arguments, and no state."""
    sessions = DurableSessions(sqlite_url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        tools = {tool.name: tool.input_schema for tool in (await shop.client.list_tools()).tools}
        assert list(tools["add"]["properties"]) == ["session_id", "item"]


async def test_each_kind_of_state_is_kept_as_readable_json(url: str) -> None:
    """Models, dataclasses, structs and typed dicts stand side by side in the context, by their classes' names."""
    sessions = DurableSessions(url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.call("add", session_id=session_id, item="tea")
        await shop.call("add_to_all", session_id=session_id, item="tea")
        assert await shop.call("add_to_all", session_id=session_id, item="cup") == [2, 2, 2]
        begun = "2026-08-01T12:00:00Z"
        assert await shop.context(session_id) == {
            "state:Cart": {"items": ["tea"], "count": 1, "begun": begun},
            "state:Basket": {"items": ["tea", "cup"], "begun": begun},
            "state:Trolley": {"items": ["tea", "cup"], "begun": begun},
            "state:Bag": {"items": ["tea", "cup"]},
        }


async def test_calls_at_once_lose_nothing(url: str, mode: str) -> None:
    """Fifty calls of one session at once, through two servers on one store: each change is there, once."""
    first, second = DurableSessions(url), DurableSessions(url)
    for server in (servers := [server_with(first), server_with(second)]):
        add_tools(server)
    async with visiting(servers[0], first, mode) as here, visiting(servers[1], second, mode) as there:
        session_id = await here.begin()
        shops = [here, there] * 25
        await asyncio.gather(
            *(shop.call("add", session_id=session_id, item=str(n)) for n, shop in enumerate(shops))
        )
        state = (await here.context(session_id))["state:Cart"]
        assert state["count"] == 50
        assert sorted(map(int, state["items"])) == list(range(50))


@pytest.mark.parametrize("how", ["tool error", "crash", "result", "protocol error"])
async def test_a_failed_tool_saves_nothing(url: str, how: str) -> None:
    """However the failure is told: what the tool did to its states is forgotten, and the session is free again."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        for _ in range(2):  # the second time it is known that the tool has state
            if how == "protocol error":
                with pytest.raises(MCPError):
                    await shop.refused("add_and_fail", session_id=session_id, item="tea", how=how)
            else:
                await shop.refused("add_and_fail", session_id=session_id, item="tea", how=how)
        assert await shop.context(session_id) == {}
        assert await shop.call("look", session_id=session_id) == []


async def test_a_state_that_is_no_valid_one_is_refused(sqlite_url: str) -> None:
    """What could not be loaded again is not saved; the client is told which field, and the stored one stays."""
    sessions = DurableSessions(sqlite_url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.call("add", session_id=session_id, item="tea")
        text = await shop.refused("spoil", session_id=session_id)
        assert text == "the state Cart was not saved: count: greater_than_equal."
        assert await shop.call("look", session_id=session_id) == ["tea"]


async def test_a_stored_state_that_does_not_fit_is_left_alone(sqlite_url: str) -> None:
    """A class that has changed too much is told of, by field and without the values; nothing is overwritten."""
    sessions = DurableSessions(sqlite_url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        session = await sessions.manager.require(session_id)
        session.context["state:Cart"] = {"items": "a secret"}
        await sessions.manager.save_session(session)
        text = await shop.refused("add", session_id=session_id, item="tea")
        assert "what is stored as state:Cart is no Cart: items: list_type" in text
        assert "secret" not in text
        assert (await shop.context(session_id))["state:Cart"] == {"items": "a secret"}


async def test_a_session_that_is_ended_meanwhile_stays_ended(sqlite_url: str) -> None:
    """A tool that is still running when its session is ended is told that its changes are not kept."""
    sessions = DurableSessions(sqlite_url)
    server = server_with(sessions)
    running, go_on = asyncio.Event(), asyncio.Event()

    @server.tool()
    async def slow(session_id: str, cart: State[Cart]) -> str:
        running.set()
        await go_on.wait()
        cart.items.append("late")
        return "done"

    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        call = asyncio.create_task(shop.refused("slow", session_id=session_id))
        await running.wait()
        await shop.call("end_session", session_id=session_id)
        go_on.set()
        assert (await call).startswith("the tool has run, but what it changed in the session was not saved: ")
        assert (await sessions.manager.load(session_id)).state == "absent"


async def test_who_waits_too_long_is_told(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that another call holds is waited for, and not for ever."""
    monkeypatch.setattr(holds_module, "WAIT_SECONDS", 0.05)
    sessions = DurableSessions(sqlite_url)
    add_tools(server := server_with(sessions))
    running, go_on = asyncio.Event(), asyncio.Event()

    @server.tool()
    async def slow(session_id: str, cart: State[Cart]) -> str:
        running.set()
        await go_on.wait()
        cart.items.append("late")
        return "done"

    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        call = asyncio.create_task(shop.call("slow", session_id=session_id))
        await running.wait()
        text = await shop.refused("look", session_id=session_id)
        assert "is in use: other calls have held it for 0.05 s. Try again in a moment." in text
        go_on.set()
        assert await call == "done"
        assert await shop.call("look", session_id=session_id) == ["late"]


async def test_who_was_held_up_for_too_long_does_not_write_over_the_next_one(url: str) -> None:
    """A process whose claim ended while it stood still is told so; what the next one saved stays."""
    stalled, other = DurableSessions(url), DurableSessions(url)
    server, add_tools_to = server_with(stalled), server_with(other)
    add_tools(add_tools_to)

    @server.tool()
    async def stand_still(session_id: str, cart: State[Cart]) -> str:
        cart.items.append("late")
        claim = await stalled.manager.store.claimed(session_id)
        assert claim is not None
        await stalled.manager.store.release(session_id, claim.turn_id)  # as if it had ended
        assert await there.call("add", session_id=session_id, item="tea") == ["tea"]
        return "done"

    async with visiting(server, stalled) as here, visiting(add_tools_to, other) as there:
        session_id = await here.begin()
        text = await here.refused("stand_still", session_id=session_id)
        assert "what it changed in the session was not saved: a later turn has taken session" in text
        assert await there.call("look", session_id=session_id) == ["tea"]


async def test_a_cancelled_call_gives_its_session_up(url: str) -> None:
    """A client that goes away leaves nothing half-done: the state stays as it was, and others can go on."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions))
    running = asyncio.Event()

    @server.tool()
    async def for_ever(session_id: str, cart: State[Cart]) -> str:
        cart.items.append("never")
        running.set()
        await asyncio.Event().wait()
        return "never"

    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        call = asyncio.create_task(shop.call("for_ever", session_id=session_id))
        await running.wait()
        call.cancel()
        assert await shop.call("look", session_id=session_id) == []
        found = await shop.call("resume_session", session_id=session_id)
        assert [(turn["flow_id"], turn.get("status")) for turn in found["last_turns"]] == [
            ("for_ever", "cancelled"),
            ("look", None),
        ]


async def test_without_a_session_there_is_no_state(sqlite_url: str) -> None:
    """A tool whose session_id may be left out says what it needs."""
    sessions = DurableSessions(sqlite_url)
    server = server_with(sessions)

    @server.tool()
    async def maybe(cart: State[Cart], session_id: str | None = None) -> int:
        return len(cart.items)

    async with visiting(server, sessions) as shop:
        text = await shop.refused("maybe")
        assert text.endswith("this tool needs a session_id; the tool that begins a session gives one")
        assert await shop.call("maybe", session_id=await shop.begin()) == 0


def test_a_tool_with_state_and_no_session_id_is_refused() -> None:
    """Where the tool is registered, not when it is called."""
    server: MCPServer[Any] = MCPServer("shop")
    with pytest.raises(Exception, match="session_id"):

        @server.tool()
        async def add(cart: State[Cart]) -> None: ...


def test_a_state_that_cannot_be_empty_is_refused() -> None:
    """Where it is written, with what to do."""

    class Order(BaseModel):
        number: int

    @dataclass
    class Parcel:
        weight: int

    for kind in (Order, Parcel):
        with pytest.raises(TypeError, match="give each field a default"):
            State.__class_getitem__(kind)  # type: ignore[type-arg]  # what `State[kind]` does at run time


async def test_state_without_durable_sessions_is_a_crash_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The author's mistake: clients learn nothing of it, the log says what to do."""
    server: MCPServer[Any] = MCPServer("shop", log_level="CRITICAL")
    add_tools(server)
    async with Client(server) as client:
        result = await client.call_tool("look", {"session_id": "x"})
    assert result.is_error
    assert "DurableSessions" not in str(result.content)
    assert "needs DurableSessions among the server's extensions or middleware" in caplog.text
