"""A question is answered and on record, whatever the flow does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agentic_flywheel import Flywheel, SessionManager
from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.python_flow import PythonFlow
from agentic_flywheel.backends.recap import RecapFlow
from agentic_flywheel.errors import BadSessionId, FlowFailed, SessionNotFound, UnknownFlow
from tests.stores.worlds import World
from tests.support import flows
from tests.support.values import questions


@pytest.fixture
def registry() -> FlowRegistry:
    functions: dict[str, Callable[..., Any]] = {
        "echo": flows.echo,
        "count": flows.count,
        "note": flows.note,
        "fail": flows.fail,
    }
    made = [PythonFlow(name, function) for name, function in functions.items()]
    return FlowRegistry([RecapFlow(), *made, PythonFlow("wait", flows.wait, timeout=0.01)], "recap")


@pytest.fixture
def flywheel(world: World, registry: FlowRegistry) -> Flywheel:
    return Flywheel(SessionManager(world.store, budget=10), registry)


async def test_a_new_session(flywheel: Flywheel) -> None:
    """A question without a session begins one, and the reply says which, and that it is safe."""
    reply = await flywheel.ask("hello", flow="echo")
    assert (reply.text, reply.flow_id, reply.saved.outcome) == ("echo: hello", "echo", "stored")
    session = await flywheel.sessions.require(reply.session_id)
    (turn,) = session.history
    assert (turn.id, turn.question, turn.response, turn.flow_id) == (reply.turn_id, "hello", "echo: hello", "echo")
    assert turn.duration_ms == reply.duration_ms
    assert (session.backend, session.current_flow_id) == ("custom", "echo")


async def test_a_session_goes_on(flywheel: Flywheel, world: World, registry: FlowRegistry) -> None:
    """A session goes on in another process, with its current flow unless another one is named."""
    first = await flywheel.ask("one", flow="count")
    other = Flywheel(SessionManager(world.open(), budget=10), registry)
    second = await other.ask("two", session_id=first.session_id)
    third = await flywheel.ask("What did I ask as number two?", session_id=first.session_id, flow="recap")
    assert (second.text, second.flow_id) == ("two after 1 turns", "count")
    assert "you asked 'two'" in third.text
    session = await flywheel.sessions.require(first.session_id)
    assert questions(session) == ["one", "two", "What did I ask as number two?"]
    assert session.current_flow_id == "recap"


async def test_what_a_flow_changes(flywheel: Flywheel) -> None:
    """What a flow puts into the context is kept, and its full output is in the execution."""
    reply = await flywheel.ask("this", flow="note", parameters={"depth": 3})
    assert (await flywheel.sessions.require(reply.session_id)).context == {"noted": "this"}
    execution = await flywheel.sessions.load_execution(reply.turn_id)
    assert execution is not None
    assert (execution.status, execution.question, execution.parameters) == ("completed", "this", {"depth": 3})
    assert execution.output == {"text": "noted: this", "tokens": 7}
    assert execution.session_id == reply.session_id


@pytest.mark.parametrize(
    ("flow", "status", "words"),
    [
        ("fail", "failed", "flow 'fail' raised RuntimeError('no answer to why')"),
        ("wait", "unknown", "flow 'wait' did not answer within 0.01 s; raise flows.wait.timeout"),
    ],
)
async def test_failures(flywheel: Flywheel, flow: str, status: str, words: str) -> None:
    """A flow that fails, or does not answer in time, is on record with the reason, and the session still works."""
    first = await flywheel.ask("one", flow="echo")
    with pytest.raises(FlowFailed) as caught:
        await flywheel.ask("why", session_id=first.session_id, flow=flow)
    assert words in str(caught.value)
    (entry,) = await flywheel.sessions.load_history(first.session_id, flow)
    assert (entry["question"], entry["status"]) == ("why", status)
    execution = await flywheel.sessions.load_execution(entry["id"])
    assert execution is not None
    assert words in (execution.error or "")
    assert execution.duration_ms is not None
    assert (await flywheel.ask("two", session_id=first.session_id)).text == "echo: two"
    assert questions(await flywheel.sessions.require(first.session_id)) == ["one", "two"]


async def test_cancellation(flywheel: Flywheel) -> None:
    """A caller who gives up is not kept; that is on record, and the session still works."""
    first = await flywheel.ask("one", flow="echo")
    begun = asyncio.Event()

    async def hang(question: str) -> str:
        begun.set()
        await asyncio.Event().wait()
        return question

    hanging = Flywheel(flywheel.sessions, FlowRegistry([PythonFlow("hang", hang)], "hang"))
    asking = asyncio.create_task(hanging.ask("why", session_id=first.session_id, flow="hang"))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    (entry,) = await flywheel.sessions.load_history(first.session_id, "hang")
    assert (entry["question"], entry["status"]) == ("why", "cancelled")
    assert (
        "unsettled" not in (await flywheel.sessions.require(first.session_id)).metadata
    )  # no server goes on with it
    assert (await flywheel.ask("two", session_id=first.session_id)).text == "echo: two"


async def test_no_such_session(flywheel: Flywheel) -> None:
    """A handle that names no session, or cannot, is refused before any flow is run."""
    with pytest.raises(SessionNotFound, match="'nobody'"):
        await flywheel.ask("hello", session_id="nobody")
    with pytest.raises(BadSessionId, match="control character"):
        await flywheel.ask("hello", session_id="no\nbody")
    assert await flywheel.sessions.list_sessions() == []


async def test_no_such_session_with_a_flow(flywheel: Flywheel) -> None:
    """That a flow is named makes no session out of a handle that names none."""
    with pytest.raises(SessionNotFound, match="'nobody'"):
        await flywheel.ask("hello", session_id="nobody", flow="echo")
    assert await flywheel.sessions.list_sessions() == []


async def test_no_such_flow(flywheel: Flywheel) -> None:
    """A flow that is not configured is refused, and no session is begun for it."""
    with pytest.raises(UnknownFlow, match="did you mean 'echo'"):
        await flywheel.ask("hello", flow="ecko")
    assert await flywheel.sessions.list_sessions() == []


async def test_no_such_flow_in_a_session(flywheel: Flywheel) -> None:
    """It is on record as failed, and the session goes on; also with the same request key, since nothing was run."""
    session_id = (await flywheel.ask("hello", flow="echo")).session_id
    with pytest.raises(UnknownFlow, match="did you mean 'echo'"):
        await flywheel.ask("again", session_id=session_id, flow="ecko", parameters={"a": 1}, request_key="1")
    (entry,) = await flywheel.sessions.load_history(session_id, "ecko")
    execution = await flywheel.sessions.load_execution(entry["id"])
    assert execution is not None
    assert (execution.status, execution.question, execution.parameters) == ("failed", "again", {"a": 1})
    assert execution.error == "no flow 'ecko' is configured; did you mean 'echo'?"
    assert (await flywheel.resume(session_id)).interrupted is None
    reply = await flywheel.ask("again", session_id=session_id, flow="echo", request_key="1")
    assert (reply.text, reply.repeated) == ("echo: again", False)
    with pytest.raises(UnknownFlow):
        await flywheel.ask("hello", session_id="session_of_nobody", flow="ecko")
    assert await flywheel.sessions.load_history("session_of_nobody", "ecko") == []


async def test_from_settings(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flywheel made of the environment's settings works with nothing configured."""
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("FLYWHEEL_STATE_DIR", str(tmp_path))
    async with Flywheel.from_config() as fw:
        reply = await fw.ask("remember the colour: blue")
    async with Flywheel.from_config() as again:
        reply = await again.ask("Which colour?", session_id=reply.session_id)
        assert "the colour is blue" in reply.text
