"""Every tool, over stdio, for clients of both protocol eras."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types; used in this one place
import pytest
from mcp.types import TextContent, TextResourceContents

from agentic_flywheel.errors import FlywheelError
from agentic_flywheel.flywheel.packet import estimate_tokens
from agentic_flywheel.mcp_server.client import Connection, connected

from .conftest import COMMAND

TOOLS: dict[str, dict[str, Any]] = {
    "create_session": {},
    "resume_session": {"session_id": "SESSION"},
    "list_sessions": {},
    "run_flow": {"question": "hello", "flow_id": "echo", "session_id": "SESSION"},
    "list_flows": {},
    "record_turn": {"session_id": "SESSION", "question": "q", "response": "r"},
    "update_context": {"session_id": "SESSION", "set": {"key": "value"}},
    "get_execution": {"execution_id": "TURN"},
    "fork_session": {"session_id": "SESSION"},
    "delete_session": {"session_id": "SESSION"},
}
TAKE_A_HANDLE = [name for name, arguments in TOOLS.items() if "session_id" in arguments]


async def error_of(server: Connection, tool: str, **arguments: Any) -> str:
    """What the tool's error says."""
    with pytest.raises(FlywheelError) as caught:
        await server.call(tool, **arguments)
    return str(caught.value)


async def test_each_era_is_spoken(server: Connection, mode: str) -> None:
    modern = server.client.protocol_version == "2026-07-28"
    assert modern == (mode == "auto")


async def test_every_result_is_structured_and_fits_its_schema(server: Connection) -> None:
    listed = (await server.client.list_tools()).tools
    assert {tool.name for tool in listed} == TOOLS.keys()
    begun = await server.call("run_flow", question="hello", flow_id="echo")
    places = {"SESSION": begun["session_id"], "TURN": begun["turn_id"]}
    schemas = {tool.name: tool.output_schema for tool in listed}
    for tool, arguments in TOOLS.items():
        given = {name: _placed(value, places) for name, value in arguments.items()}
        result = await server.call(tool, **given)
        jsonschema.validate(result, schemas[tool])


def _placed(value: Any, places: Mapping[str, str]) -> Any:
    return places.get(value, value) if isinstance(value, str) else value


async def test_the_creating_tool_says_how_long_a_session_lives(environ: dict[str, str], mode: str) -> None:
    """As it is configured, in words."""
    for seconds, words in (("604800", "7 days"), ("5400", "90 minutes"), ("0", "until it is deleted")):
        environ["FLYWHEEL_TTL_SECONDS"] = seconds
        async with connected(COMMAND, environ, mode=mode) as server:
            tools = {tool.name: tool for tool in (await server.client.list_tools()).tools}
            created = await server.call("create_session")
        assert words in (tools["create_session"].description or "")
        assert created["kept_seconds"] == int(seconds)


async def test_a_session_begins_with_what_it_is_given(server: Connection) -> None:
    context = {"topic": "tension", "when": {"$datetime": "2025-11-18T10:00:00+01:00"}, "n": 2**70}
    created = await server.call("create_session", title="A title", context=context, flow_id="echo", ttl_seconds=60)
    view = await server.call("resume_session", session_id=created["session_id"])
    assert created["kept_seconds"] == 60
    assert created["saved"]["outcome"] == "stored"
    assert (view["title"], view["context"], view["current_flow_id"]) == ("A title", context, "echo")
    assert (view["turns"], view["last_turns"]) == (0, [])


async def test_only_the_newest_turns_are_resumed_and_all_are_counted(server: Connection) -> None:
    session_id = (await server.call("create_session"))["session_id"]
    for number in range(12):
        recorded = await server.call("record_turn", session_id=session_id, question=f"q{number}", response="r")
    assert recorded["turns"] == 12
    for given, newest in (({}, 10), ({"last": 2}, 2), ({"last": 0}, 0)):
        view = await server.call("resume_session", session_id=session_id, **given)
        assert view["turns"] == 12
        assert [turn["question"] for turn in view["last_turns"]] == [f"q{n}" for n in range(12 - newest, 12)]


@pytest.mark.parametrize("tokens", [1000, 2000, 5000])
async def test_what_is_resumed_costs_no_more_than_its_budget(server: Connection, tokens: int) -> None:
    """Its text and its structured content each, in either era: a model reads one of them."""
    session_id = await long_session(server)
    given = {} if tokens == 2000 else {"tokens": tokens}
    result = await server.client.call_tool("resume_session", {"session_id": session_id, **given})
    view, (content,) = result.structured_content, result.content
    assert isinstance(content, TextContent)
    assert tokens * 2 // 3 < estimate_tokens(json.dumps(view, separators=(",", ":"))) <= tokens
    assert estimate_tokens(json.dumps(content.text)) <= tokens
    assert f" {view['last_turns'][-1]['id']}] question: question 39" in content.text
    assert view["turns"] == 40 == len(view["last_turns"]) + len(view["earlier_turns"]) + view["left_out"]["turns"]
    assert view["last_turns"][-1]["question"] == "question 39"
    assert "context.notes" in view["cut"]
    assert "question 39" in content.text
    assert view["earlier_turns"][0] in content.text


async def test_what_was_cut_can_be_read_elsewhere(server: Connection) -> None:
    """Where the packet says: by the turn's id, in the resource, and with a larger budget."""
    session_id = await long_session(server, words=2000)
    view = await server.call("resume_session", session_id=session_id)
    assert view["cut"] == ["context.notes", "last_turns"]
    (turn,) = view["last_turns"]
    execution = await server.call("get_execution", execution_id=turn["id"])
    assert execution["output"] == "word " * 2000
    (document,) = (await server.client.read_resource(f"flywheel://session/{session_id}")).contents
    assert isinstance(document, TextResourceContents)
    assert json.loads(document.text)["context"]["notes"] == "note " * 2000
    larger = await server.call("resume_session", session_id=session_id, tokens=30_000)
    assert larger["last_turns"][-1]["response"] == "word " * 2000
    assert larger["context"]["notes"] == "note " * 2000
    for place in ("more tokens", "get_execution", "flywheel://session/"):
        assert place in view["more"]


async def long_session(server: Connection, *, words: int = 100) -> str:
    """A session of many turns and a long context."""
    created = await server.call("create_session", title="A long one", context={"notes": "note " * 2000})
    session_id: str = created["session_id"]
    for number in range(40 if words <= 100 else 1):
        question = f"question {number}"
        await server.call("record_turn", session_id=session_id, question=question, response="word " * words)
    return session_id


async def test_a_flow_answers_and_records_by_itself(server: Connection) -> None:
    """Without a session it begins one; the flow that was used last answers the next question."""
    first = await server.call("run_flow", question="hello", flow_id="echo", parameters={"mood": "good"})
    second = await server.call("run_flow", question="again", session_id=first["session_id"])
    view = await server.call("resume_session", session_id=first["session_id"])
    execution = await server.call("get_execution", execution_id=first["turn_id"])
    assert (first["response"], second["response"]) == ("you said hello", "you said again")
    assert [turn["id"] for turn in view["last_turns"]] == [first["turn_id"], second["turn_id"]]
    assert (execution["question"], execution["output"]) == ("hello", "you said hello")
    assert (execution["parameters"], execution["status"]) == ({"mood": "good"}, "completed")


async def test_the_flows_are_listed_with_the_default_one(server: Connection) -> None:
    flows = {flow["flow_id"]: flow for flow in (await server.call("list_flows"))["flows"]}
    assert flows.keys() == {"recap", "echo", "fail", "large", "wait"}
    assert [name for name, flow in flows.items() if flow["is_default"]] == ["recap"]
    assert flows["echo"]["description"] == "says it again"
    assert (flows["echo"]["keywords"], flows["recap"]["keywords"]) == (["echo", "again"], [])


async def test_a_turn_of_the_client_itself_is_recorded_as_such(server: Connection) -> None:
    session_id = (await server.call("create_session"))["session_id"]
    given = {"question": "What is it?", "response": "A model's answer", "duration_ms": 12}
    recorded = await server.call("record_turn", session_id=session_id, **given)
    execution = await server.call("get_execution", execution_id=recorded["turn_id"])
    (turn,) = (await server.call("resume_session", session_id=session_id))["last_turns"]
    assert {name: turn[name] for name in given} == given
    assert turn["flow_id"] == execution["flow_id"] == "client"


async def test_context_keys_are_set_and_removed(server: Connection) -> None:
    session_id = (await server.call("create_session", context={"a": 1, "b": 2}))["session_id"]
    changed = await server.call("update_context", session_id=session_id, set={"c": [3]}, remove=["a", "z"])
    view = await server.call("resume_session", session_id=session_id)
    assert changed["context"] == view["context"] == {"b": 2, "c": [3]}
    assert "nothing to change" in await error_of(server, "update_context", session_id=session_id)


async def test_a_fork_goes_its_own_way(server: Connection) -> None:
    begun = await server.call("run_flow", question="remember a: 1")
    fork = await server.call("fork_session", session_id=begun["session_id"])
    await server.call("run_flow", question="remember b: 2", session_id=fork["session_id"])
    forked = await server.call("resume_session", session_id=fork["session_id"])
    original = await server.call("resume_session", session_id=begun["session_id"])
    assert (fork["turns"], fork["forked_from"]) == (1, begun["session_id"])
    assert (forked["context"], forked["turns"]) == ({"a": "1", "b": "2"}, 2)
    assert (original["context"], original["turns"]) == ({"a": "1"}, 1)


async def test_a_deleted_session_is_gone(server: Connection) -> None:
    session_id = (await server.call("create_session"))["session_id"]
    assert (await server.call("delete_session", session_id=session_id))["deleted"]
    assert "list_sessions" in await error_of(server, "resume_session", session_id=session_id)
    assert (await server.call("list_sessions"))["sessions"] == []


async def test_an_unknown_handle_is_an_error_that_says_what_to_do(server: Connection) -> None:
    for tool in TAKE_A_HANDLE:
        message = await error_of(server, tool, **{**TOOLS[tool], "session_id": "session_unknown"})
        assert "session_unknown" in message
        assert "list_sessions" in message
        assert "create_session" in message
    assert "no execution" in await error_of(server, "get_execution", execution_id="turn_unknown")
    assert "create_session" in await error_of(server, "resume_session")  # there is none at all


async def test_a_bad_handle_is_an_error_that_says_what_is_wrong(server: Connection) -> None:
    for bad, tool in product(("", "a\nb", "a\x00b", "x" * 10_000), TAKE_A_HANDLE):
        message = await error_of(server, tool, **{**TOOLS[tool], "session_id": bad})
        assert "a session id" in message, (bad, tool)


async def test_an_odd_handle_names_no_other_session(server: Connection) -> None:
    await server.call("create_session")
    for odd, tool in product(("a:b", "*", "session_*", "{x}", "../../etc", "a b/ü"), TAKE_A_HANDLE):
        assert repr(odd) in await error_of(server, tool, **{**TOOLS[tool], "session_id": odd}), tool


async def test_bad_arguments_are_named(server: Connection) -> None:
    assert "last" in await error_of(server, "resume_session", last=-1)
    for tokens in (-1, 0, 999, 10**9, "many"):
        assert "tokens" in await error_of(server, "resume_session", tokens=tokens)
    assert "question" in await error_of(server, "run_flow", question="")
    assert "list_flows" in await error_of(server, "run_flow", question="q", flow_id="ecko")
    assert "did you mean 'echo'" in await error_of(server, "create_session", flow_id="ecko")


async def test_a_flow_that_fails_leaves_a_session_that_works(server: Connection) -> None:
    session_id = (await server.call("create_session"))["session_id"]
    message = await error_of(server, "run_flow", question="q", session_id=session_id, flow_id="fail")
    assert "'fail'" in message
    assert "on record" in message
    assert (await server.call("run_flow", question="q", session_id=session_id, flow_id="echo"))["response"]


async def test_an_answer_is_delivered_even_if_it_could_not_be_saved(server: Connection) -> None:
    """With the truth about the save; a tool that does nothing but save reports an error."""
    session_id = (await server.call("create_session"))["session_id"]
    reply = await server.call("run_flow", question="0123456789", session_id=session_id, flow_id="large")
    assert len(reply["response"]) == 50_000
    assert reply["saved"]["outcome"] == "refused"
    assert "limit is 20,000" in reply["saved"]["reason"]
    message = await error_of(server, "record_turn", session_id=session_id, question="q", response="x" * 30_000)
    assert "nothing was saved" in message
    assert (await server.call("resume_session", session_id=session_id))["turns"] == 0


@asynccontextmanager
async def telephone() -> AsyncIterator[tuple[int, asyncio.Future[asyncio.StreamReader]]]:
    """A port that the flow `wait` can call, and who called."""
    caller: asyncio.Future[asyncio.StreamReader] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller.set_result(reader)
        await done.wait()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], caller
    finally:
        done.set()
        listener.close()


async def test_a_cancelled_call_cancels_the_flow(server: Connection) -> None:
    """The flow itself is cancelled, nothing is recorded as answered, and the server goes on."""
    session_id = (await server.call("create_session"))["session_id"]
    async with asyncio.timeout(20), telephone() as (port, caller):
        question = {"question": str(port), "session_id": session_id, "flow_id": "wait"}
        call = asyncio.create_task(server.client.call_tool("run_flow", question))
        reader = await caller
        call.cancel()
        assert await reader.read() == b""  # the flow hung up, by itself
    view = await server.call("resume_session", session_id=session_id)
    assert view["turns"] == 0
