"""Tool calls as turns and executions, failed ones too, without what should not be stored."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import MCPError

from agentic_flywheel import Execution
from agentic_flywheel.integrations.mcp import DurableSessions
from agentic_flywheel.session import UniversalSession
from tests.integrations.mcp.carts import add_tools
from tests.integrations.mcp.conftest import Shop, server_with, visiting

SECRET = "correct horse battery"


async def session_of(shop: Shop, session_id: str) -> UniversalSession:
    return await shop.sessions.manager.require(session_id)


async def last_execution(shop: Shop, session_id: str) -> Execution:
    turn = (await session_of(shop, session_id)).history[-1]
    execution = await shop.sessions.manager.load_execution(turn["id"])
    assert execution is not None
    return execution


async def test_a_call_is_a_turn_and_an_execution(url: str, mode: str) -> None:
    """What was called, with which arguments but for the handle, what came of it, and how long it took."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions, mode) as shop:
        session_id = await shop.begin()
        await shop.call("add", session_id=session_id, item="tea")
        await shop.call("say", session_id=session_id, words="hello")
        first, second = (await session_of(shop, session_id)).history
        assert (first.question, first.flow_id, first.response) == ('add {"item":"tea"}', "add", {"result": ["tea"]})
        assert second.question == 'say {"words":"hello"}'
        assert isinstance(second.duration_ms, int)
        execution = await last_execution(shop, session_id)
        assert (execution.id, execution.status, execution.flow_id) == (second["id"], "completed", "say")
        assert execution.parameters == {"words": "hello"}
        assert execution.output == {"result": "hello, "}
        history = await sessions.manager.load_history(session_id, "add")
        assert [entry["id"] for entry in history] == [first["id"]]


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("tool error", "Error executing tool add_and_fail: the shop is closed"),
        ("crash", "Error executing tool add_and_fail"),
        ("result", "sold out"),
        ("protocol error", "not today"),
    ],
)
async def test_a_failed_call_is_on_record(url: str, mode: str, how: str, text: str) -> None:
    """Whether it is told as a result or as an exception; the turn and the execution say that it failed, and why."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions, mode) as shop:
        session_id = await shop.begin()
        arguments = {"session_id": session_id, "item": "tea", "how": how}
        if how == "protocol error":
            with pytest.raises(MCPError, match="not today"):
                await shop.client.call_tool("add_and_fail", arguments)
        else:
            assert await shop.refused("add_and_fail", **arguments) == text
        (turn,) = (await session_of(shop, session_id)).history
        assert (turn["status"], turn.response, turn.flow_id) == ("failed", text, "add_and_fail")
        execution = await last_execution(shop, session_id)
        assert (execution.status, execution.error, execution.output) == ("failed", text, None)
        assert execution.parameters == {"item": "tea", "how": how}


async def test_an_unknown_tool_and_wrong_arguments_are_on_record(sqlite_url: str) -> None:
    """They failed, too, before any code of the author's ran."""
    sessions = DurableSessions(sqlite_url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.client.call_tool("dance", {"session_id": session_id})
        await shop.refused("say", session_id=session_id, words=7)
        turns = (await session_of(shop, session_id)).history
        assert [(turn.flow_id, turn["status"]) for turn in turns] == [("dance", "failed"), ("say", "failed")]


async def test_without_record_nothing_is_recorded(url: str) -> None:
    """State is kept all the same."""
    sessions = DurableSessions(url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.call("add", session_id=session_id, item="tea")
        assert len((await session_of(shop, session_id)).history) == 0


async def test_credentials_are_not_stored(sqlite_url: str) -> None:
    """Arguments named like one are masked at any depth, visibly, and where the tool's answer repeats them."""
    sessions = DurableSessions(sqlite_url, record=True, mask=["diary"])
    add_tools(server := server_with(sessions))
    deep: dict[str, Any] = {"list": [{"apiKey": SECRET}], "diary": {"today": SECRET}, "plain": 1}
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        answer = await shop.call("say", session_id=session_id, words="hi", password=SECRET, deep=deep)
        assert answer == f"hi, {SECRET}"
        session, execution = await session_of(shop, session_id), await last_execution(shop, session_id)
        assert SECRET not in session.to_json() + str(execution.to_dict())
        assert execution.parameters == {
            "words": "hi",
            "password": "[masked]",
            "deep": {"list": [{"apiKey": "[masked]"}], "diary": {"today": "[masked]"}, "plain": 1},
        }
        assert execution.output == {"result": "hi, [masked]"}


async def test_what_the_sdk_quotes_of_wrong_arguments_is_not_stored(sqlite_url: str) -> None:
    """Its message for the client holds the value; the record does not, not even a part of it."""
    sessions = DurableSessions(sqlite_url, record=True)
    add_tools(server := server_with(sessions))
    secret = ["begin" + "x" * 100 + "end"]
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        assert "begin" in await shop.refused("say", session_id=session_id, words="hi", password=secret)
        (turn,) = (await session_of(shop, session_id)).history
        execution = await last_execution(shop, session_id)
    assert "input_value=[masked], input_type=list" in turn.response
    assert "beginx" not in str(turn) + str(execution.to_dict())


async def test_what_is_too_large_is_left_out(sqlite_url: str, tmp_path: Any) -> None:
    """The call is on record, and says how large it was; its state is saved all the same."""
    sessions = DurableSessions(sqlite_url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.call("add", session_id=session_id, item="x" * 2_000_000)
        (turn,) = (await session_of(shop, session_id)).history
        assert turn.question == 'add {"not_stored":"the arguments had 2,000,011 bytes"}'
        assert turn.response == {"not_stored": "the output had 2,000,015 bytes"}
        assert len(await shop.call("look", session_id=session_id)) == 1
