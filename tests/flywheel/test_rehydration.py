"""Where a flow's server has lost its side of a conversation, the newest turns go along with the question."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from agentic_flywheel import Flywheel, SessionManager, UniversalSession
from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.python_flow import PythonFlow
from agentic_flywheel.session import Execution, Turn
from tests.flywheel.remembering import FlowServer, RememberingFlow
from tests.stores.worlds import World
from tests.support import flows
from tests.support.values import questions


@pytest.fixture
def server() -> FlowServer:
    return FlowServer()


def flywheel_on(world: World, *made: RememberingFlow) -> Flywheel:
    registry = FlowRegistry([*made, PythonFlow("echo", flows.echo)], "echo")
    return Flywheel(SessionManager(world.open(), budget=10), registry)


async def conversation(flywheel: Flywheel, turns: int, flow: str = "flow") -> str:
    """A session with so many turns: q0, q1, …"""
    session_id = (await flywheel.ask("q0", flow=flow)).session_id
    for number in range(1, turns):
        await flywheel.ask(f"q{number}", session_id=session_id)
    return session_id


def told(server: FlowServer) -> list[Turn]:
    """The turns that were told again with the last question."""
    replay = server.questions[-1].replay
    return list(replay.turns) if replay else []


async def execution_of(flywheel: Flywheel, turn_id: str) -> Execution:
    execution = await flywheel.sessions.load_execution(turn_id)
    assert execution is not None
    return execution


async def test_a_server_that_lost_its_side(world: World, server: FlowServer) -> None:
    """The earlier turns go along once, oldest first, and the execution says so."""
    flywheel = flywheel_on(world, RememberingFlow("flow", server))
    session_id = await conversation(flywheel, 3)
    assert all(not question.replay for question in server.questions)
    server.lose()
    reply = await flywheel.ask("now", session_id=session_id)
    assert [(turn.question, turn.response) for turn in told(server)] == [
        ("q0", "answer 1 to q0"),
        ("q1", "answer 2 to q1"),
        ("q2", "answer 3 to q2"),
    ]
    execution = await execution_of(flywheel, reply.turn_id)
    assert execution.extra["rehydrated"] == {"turns": 3, "bytes": 3 * len("q0answer 1 to q0"), "of": 3}
    after = await flywheel.ask("then", session_id=session_id)
    assert not server.questions[-1].replay
    assert "rehydrated" not in (await execution_of(flywheel, after.turn_id)).extra
    assert questions(await flywheel.sessions.require(session_id)) == ["q0", "q1", "q2", "now", "then"]


async def test_moved_to_another_server(world: World, server: FlowServer) -> None:
    """What other flows answered goes along to one on a server that never had the conversation."""
    elsewhere = FlowServer()
    flywheel = flywheel_on(world, RememberingFlow("flow", server), RememberingFlow("new", elsewhere))
    session_id = await conversation(flywheel, 2)
    await flywheel.ask("q2", session_id=session_id, flow="echo")
    await flywheel.ask("now", session_id=session_id, flow="new")
    assert [turn.question for turn in told(elsewhere)] == ["q0", "q1", "q2"]


async def test_a_conversation_on_the_server_before(world: World, server: FlowServer) -> None:
    """A session that is known to the server by an id of its own is asked for by that."""
    flywheel = flywheel_on(world, RememberingFlow("flow", server))
    session = UniversalSession(backend="remembering", backend_session_id="theirs", current_flow_id="flow")
    session.record(question="q0", response="a0")
    await flywheel.sessions.save_session(session)
    server.answer("theirs", "q0")
    await flywheel.ask("q1", session_id=session.id)
    assert list(server.kept) == ["theirs"]
    assert not server.questions[-1].replay


@pytest.mark.parametrize(
    ("options", "again"),
    [
        ({"replay_turns": 2}, ["q2", "q3"]),
        ({"replay_turns": 2, "turns": 1}, ["q2", "q3"]),
        ({"replay_turns": 3, "turns": 0}, ["q1", "q2", "q3"]),
        ({"replay_bytes": 3 * len("q0answer 1 to q0")}, ["q1", "q2", "q3"]),
        ({"replay_bytes": 3 * len("q0answer 1 to q0") - 1}, ["q2", "q3"]),
        ({"replay_bytes": 5}, []),
        ({"replay_turns": 0}, []),
    ],
    ids=str,
)
async def test_budget(world: World, server: FlowServer, options: dict[str, Any], again: list[str]) -> None:
    """So many turns and bytes at most, the newest; how many of them the flow wants to see does not matter."""
    flywheel = flywheel_on(world, RememberingFlow("flow", server, **options))
    session_id = await conversation(flywheel, 4)
    server.lose()
    reply = await flywheel.ask("now", session_id=session_id)
    assert [turn.question for turn in told(server)] == again
    noted = (await execution_of(flywheel, reply.turn_id)).extra.get("rehydrated", {"turns": 0})
    assert noted["turns"] == len(again)


async def test_bytes_are_those_of_the_texts(world: World, server: FlowServer) -> None:
    """A character may be several bytes; half an emoji, which others write, is no reason to fail."""
    flywheel = flywheel_on(world, RememberingFlow("flow", server))
    session = UniversalSession(backend="remembering", current_flow_id="flow")
    session.record(question="für", response="\ud83d")
    await flywheel.sessions.save_session(session)
    reply = await flywheel.ask("now", session_id=session.id)
    assert (await execution_of(flywheel, reply.turn_id)).extra["rehydrated"] == {"turns": 1, "bytes": 7, "of": 1}


async def test_turns_of_another_shape(world: World, server: FlowServer) -> None:
    """Only turns with two texts can be told again."""
    flywheel = flywheel_on(world, RememberingFlow("flow", server))
    session = UniversalSession(backend="remembering", current_flow_id="flow")
    session.history.append({"role": "user", "content": "q"})
    session.record(question="q0", response="a0")
    session.record(question="q1", response={"image": "…"})
    session.record(question="", response="a2")
    await flywheel.sessions.save_session(session)
    reply = await flywheel.ask("now", session_id=session.id)
    assert [turn.question for turn in told(server)] == ["q0"]
    assert (await execution_of(flywheel, reply.turn_id)).extra["rehydrated"] == {"turns": 1, "bytes": 4, "of": 4}


async def test_a_server_that_does_not_say(
    world: World, server: FlowServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The question goes without; the log says what kind of error it was, and no more."""
    flow = RememberingFlow("flow", server)
    flywheel = flywheel_on(world, flow)
    session_id = await conversation(flywheel, 2)

    async def fail(conversation: str, **_: Any) -> None:
        raise RuntimeError(f"the secret of {conversation}")

    server.period = object()
    monkeypatch.setattr(flow, "messages", fail)
    assert (await flywheel.ask("now", session_id=session_id)).text == "answer 3 to now"
    assert not server.questions[-1].replay
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert logged == ["flow flow: what its server has is not known: RuntimeError"]
