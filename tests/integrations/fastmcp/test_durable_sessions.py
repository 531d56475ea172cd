"""Handles, typed state and records on a FastMCP server; what all frameworks share is tested with the SDK."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.dependencies import get_context
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

from agentic_flywheel.integrations.fastmcp import DurableSessions, State
from tests.integrations.fastmcp.carts import Cart, add_tools
from tests.integrations.fastmcp.conftest import server_with, visiting
from tests.support.servers import Server

UNKNOWN = (
    "no session {!r}: it has expired or never was. Call create_session to begin a new one, or "
    "list_sessions to see those that there are."
)


async def test_state_is_there_at_the_next_call(url: str, mode: str) -> None:
    """A session begins with an empty state; what one call changed, the next one has; sessions do not mix."""
    add_tools(server := server_with(DurableSessions(url)))
    async with visiting(server, mode) as shop:
        one, other = await shop.begin(), await shop.begin()
        assert await shop.call("add", session_id=one, item="tea") == ["tea"]
        assert await shop.call("add_in_a_thread", session_id=one, item="cup") == ["tea", "cup"]
        assert await shop.call("look", session_id=one) == ["tea", "cup"]
        assert await shop.call("look", session_id=other) == []


async def test_what_a_model_sees(sqlite_url: str, mode: str) -> None:
    """The tools for handles, with how long a session is kept, and the author's tools without their state."""
    sessions = DurableSessions(sqlite_url, ttl_seconds=5400, prefix="shop_", names={"create_session": "open_cart"})
    add_tools(server := server_with(sessions))
    async with visiting(server, mode) as shop:
        tools = {tool.name: tool for tool in await shop.client.list_tools()}
        handles = [name for name in tools if name.startswith("shop_")]
        assert handles == ["shop_open_cart", "shop_resume_session", "shop_list_sessions", "shop_end_session"]
        assert "kept for 90 minutes after its last use" in (tools["shop_open_cart"].description or "")
        assert list(tools["add"].input_schema["properties"]) == ["session_id", "item"]
        assert await shop.call("add", session_id=(await shop.call("shop_open_cart"))["session_id"], item="tea")
        assert "Call shop_open_cart to begin a new one" in await shop.refused("look", session_id="x")


async def test_sessions_are_listed_resumed_and_ended(url: str, mode: str) -> None:
    """The one used last first; an ended one is gone."""
    async with visiting(server_with(DurableSessions(url)), mode) as shop:
        first, second = await shop.begin(title="first"), await shop.begin(title="second", ttl_seconds=60)
        listed = (await shop.call("list_sessions"))["sessions"]
        assert [(each["session_id"], each["title"]) for each in listed] == [(second, "second"), (first, "first")]
        assert (await shop.call("resume_session", session_id=first))["title"] == "first"
        assert await shop.call("end_session", session_id=second) == {"session_id": second, "ended": True}
        assert await shop.refused("end_session", session_id=second) == UNKNOWN.format(second)


@pytest.mark.parametrize("tool", ["look", "say", "resume_session", "end_session"])
async def test_an_unknown_handle_is_answered_with_how_to_recover(sqlite_url: str, mode: str, tool: str) -> None:
    """By the handle tools, by tools with state and by tools that only have a session_id; none of these is run."""
    add_tools(server := server_with(DurableSessions(sqlite_url, record=True)))
    async with visiting(server, mode) as shop:
        arguments = {"words": "hello"} if tool == "say" else {}
        for _ in range(2):
            text = await shop.refused(tool, session_id="session_of_nobody", **arguments)
            assert text == UNKNOWN.format("session_of_nobody")


async def test_calls_at_once_lose_nothing(url: str, mode: str) -> None:
    """Fifty calls of one session at once, through two servers on one store: each change is there, once."""
    for server in (servers := [server_with(DurableSessions(url)) for _ in range(2)]):
        add_tools(server)
    async with visiting(servers[0], mode) as here, visiting(servers[1], mode) as there:
        session_id = await here.begin()
        shops = [here, there] * 25
        await asyncio.gather(
            *(shop.call("add", session_id=session_id, item=str(n)) for n, shop in enumerate(shops))
        )
        assert sorted(map(int, await there.call("look", session_id=session_id))) == list(range(50))


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("tool error", "the shop is closed"),
        ("crash", "Error calling tool 'add_and_fail'"),
        ("result", "sold out"),
    ],
)
async def test_a_failed_tool_saves_nothing_and_is_on_record(url: str, mode: str, how: str, text: str) -> None:
    """Whether it is told as a result or as an exception; the session is free again."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions, mask_error_details=True))
    async with visiting(server, mode) as shop:
        session_id = await shop.begin()
        for _ in range(2):  # the second time it is known that the tool has state
            assert await shop.refused("add_and_fail", session_id=session_id, item="tea", how=how) == text
        session = await sessions.manager.require(session_id)
        assert session.context == {}
        assert [(turn["status"], turn.response, turn.flow_id) for turn in session.history] == [
            ("failed", text, "add_and_fail")
        ] * 2
        execution = await sessions.manager.load_execution(session.history[-1]["id"])
        assert execution is not None
        assert (execution.error, execution.parameters) == (text, {"item": "tea", "how": how})
        assert await shop.call("look", session_id=session_id) == []


async def test_a_state_that_is_no_valid_one_is_refused(sqlite_url: str) -> None:
    """The client is told which field, and the stored one stays."""
    add_tools(server := server_with(DurableSessions(sqlite_url)))
    async with visiting(server) as shop:
        session_id = await shop.begin()
        await shop.call("add", session_id=session_id, item="tea")
        assert await shop.refused("spoil", session_id=session_id) == (
            "the state Cart was not saved: count: greater_than_equal."
        )
        assert await shop.call("look", session_id=session_id) == ["tea"]


async def test_a_call_is_a_turn_without_credentials(url: str, mode: str) -> None:
    """What was called, with which arguments but for the handle, what came of it; masked where it looks like one."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, mode) as shop:
        session_id = await shop.begin()
        await shop.call("say", session_id=session_id, words="hello", password="correct horse")
        assert "correct" in await shop.refused("say", session_id=session_id, words=["correct horse"])
        await shop.refused("dance", session_id=session_id)
        await shop.call("without_session", words="hello")
        said, wrong, unknown = (await sessions.manager.require(session_id)).history
        assert said.question == 'say {"words":"hello","password":"[masked]"}'
        assert said.response == {"result": "hello, [masked]"}
        assert wrong["status"] == unknown["status"] == "failed"
        assert "input_value=[masked], input_type=list" in wrong.response
        assert unknown.flow_id == "dance"


async def test_a_tool_that_asks_first_runs_and_is_recorded_once(url: str) -> None:
    """The question is a result of its own; it is no turn, and holds nobody up meanwhile."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions))

    @server.tool
    async def buy(session_id: str, cart: State[Cart]) -> Any:
        answers = get_context().input_responses
        if not answers:
            cart.items.append("never")
            schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}}
            question = ElicitRequestFormParams(message="Really?", requested_schema=schema)
            return InputRequiredResult(input_requests={"sure": ElicitRequest(params=question)})
        cart.items.append("bought")
        return cart.items

    async def answer(*_: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"yes": True})

    async with Client(server, elicitation_handler=answer) as client:
        begun = await client.call_tool("create_session")
        session_id = begun.structured_content["session_id"]
        for _ in range(2):
            await client.call_tool("buy", {"session_id": session_id})
        session = await sessions.manager.require(session_id)
    assert session.context["state:Cart"]["items"] == ["bought", "bought"]
    assert [turn.flow_id for turn in session.history] == ["buy", "buy"]


async def test_a_cancelled_call_gives_its_session_up(url: str) -> None:
    """A client that goes away leaves nothing half-done: the state stays as it was, and others can go on."""
    add_tools(server := server_with(DurableSessions(url, record=True)))
    running = asyncio.Event()

    @server.tool
    async def for_ever(session_id: str, cart: State[Cart]) -> str:
        cart.items.append("never")
        running.set()
        await asyncio.Event().wait()
        return "never"

    async with visiting(server) as shop:
        session_id = await shop.begin()
        call = asyncio.create_task(shop.call("for_ever", session_id=session_id))
        await running.wait()
        call.cancel()
        assert await shop.call("look", session_id=session_id) == []
        (turn, _) = (await shop.call("resume_session", session_id=session_id))["last_turns"]
        assert (turn["flow_id"], turn["status"]) == ("for_ever", "cancelled")


async def test_state_goes_on_while_redis_is_away(own_server: Server, tmp_path: Path, mode: str) -> None:
    """What this machine knows is gone on from; a session unknown here has to wait."""
    (tmp_path / "flywheel.toml").write_text("", "utf-8")  # the usual budget: nobody waits long for a dead server
    add_tools(server := server_with(DurableSessions(own_server.url, record=True)))
    async with visiting(server, mode) as shop:
        session_id = await shop.begin()
        await shop.call("add", session_id=session_id, item="tea")
        own_server.kill()
        assert await shop.call("add", session_id=session_id, item="cup") == ["tea", "cup"]
        text = await shop.refused("look", session_id="session_of_another_machine")
        assert text.endswith("Try again in a moment.")


async def test_a_server_that_is_mounted_keeps_its_sessions(url: str, mode: str) -> None:
    """Under the names that the outer server gives its tools."""
    sessions = DurableSessions(url, record=True)
    add_tools(inner := server_with(sessions))
    outer: FastMCP[Any] = FastMCP("mall")
    outer.mount(inner, namespace="shop")
    async with visiting(outer, mode) as mall:
        session_id = (await mall.call("shop_create_session"))["session_id"]
        assert await mall.call("shop_add", session_id=session_id, item="tea") == ["tea"]
        assert await mall.call("shop_look", session_id=session_id) == ["tea"]
        assert len((await sessions.manager.require(session_id)).history) == 2


async def test_without_a_session_there_is_no_state(sqlite_url: str) -> None:
    """A tool whose session_id may be left out says what it needs."""
    server = server_with(DurableSessions(sqlite_url))

    @server.tool
    async def maybe(cart: State[Cart], session_id: str | None = None) -> int:
        return len(cart.items)

    async with visiting(server) as shop:
        needed = "this tool needs a session_id; the tool that begins a session gives one"
        assert await shop.refused("maybe") == needed
        assert await shop.call("maybe", session_id=await shop.begin()) == 0


async def test_state_without_the_middleware_is_a_crash_that_is_logged(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The author's mistake: clients learn nothing of it, the log says what to do."""
    server: FastMCP[Any] = FastMCP("shop", providers=[DurableSessions(sqlite_url)])
    add_tools(server)
    log = logging.getLogger("fastmcp")
    log.addHandler(caplog.handler)
    log.setLevel(logging.ERROR)
    try:
        async with visiting(server) as shop:
            text = await shop.refused("look", session_id=await shop.begin())
    finally:
        log.removeHandler(caplog.handler)
    assert "DurableSessions" not in text
    assert "needs DurableSessions among the server's extensions or middleware" in caplog.text
