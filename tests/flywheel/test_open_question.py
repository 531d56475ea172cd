"""A question that was asked last and has no answer is told to whoever resumes its session, with what happened."""

from __future__ import annotations

import asyncio
import re

import pytest

from agentic_flywheel import Flywheel, SessionManager
from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.python_flow import PythonFlow
from agentic_flywheel.errors import FlowFailed, FlowUnsettled
from tests.flywheel.remembering import FlowServer, RememberingFlow
from tests.stores.worlds import World
from tests.support import flows
from tests.support.values import questions


def flywheel_on(world: World, server: FlowServer) -> Flywheel:
    """A flywheel as each process has its own."""
    made = [PythonFlow("note", flows.note), PythonFlow("hasty", flows.wait, timeout=0.01)]
    further = [PythonFlow("wait", flows.wait), PythonFlow("fail", flows.fail), RememberingFlow("flow", server)]
    return Flywheel(SessionManager(world.open(), budget=10), FlowRegistry([*made, *further], "note"))


@pytest.fixture
def flywheel(world: World) -> Flywheel:
    return flywheel_on(world, FlowServer())


async def told(flywheel: Flywheel, session_id: str) -> str | None:
    """What a packet says of it; its text says the same."""
    packet = await flywheel.packet(session_id)
    assert ("Note: your last question" in packet.to_text()) == (packet.interrupted is not None)
    return packet.interrupted


async def cancelled(flywheel: Flywheel, session_id: str, question: str) -> None:
    """Ask, and give the question up when its flow is asked."""
    asked = asyncio.Event()
    asking = asyncio.create_task(
        flywheel.ask(question, session_id=session_id, flow="wait", on_asked=lambda _: asked.set())
    )
    await asked.wait()
    asking.cancel()
    await asyncio.wait((asking,))


async def test_one_that_timed_out(world: World, flywheel: Flywheel) -> None:
    """In another process, too, and again and again; until a question is answered."""
    session_id = (await flywheel.ask("one")).session_id
    with pytest.raises(FlowUnsettled):
        await flywheel.ask("two", session_id=session_id, flow="hasty")
    for resuming in (flywheel, flywheel, flywheel_on(world, FlowServer())):
        said = r"your last question 'two' had no answer after \d s in flow hasty, which may have run all the same"
        assert re.match(said, await told(resuming, session_id) or "")
    await flywheel.ask("three", session_id=session_id, flow="note")
    assert await told(flywheel, session_id) is None
    assert "unanswered" not in (await flywheel.sessions.require(session_id)).metadata


async def test_one_that_was_cancelled(world: World, flywheel: Flywheel) -> None:
    session_id = (await flywheel.ask("one")).session_id
    await cancelled(flywheel, session_id, "two")
    for resuming in (flywheel, flywheel_on(world, FlowServer())):
        said = r"your last question 'two' was cancelled after \d s in flow wait; not answered"
        assert re.fullmatch(said, await told(resuming, session_id) or "")
    (entry,) = await flywheel.sessions.load_history(session_id, "wait")
    assert entry["status"] == "cancelled"
    assert questions(await flywheel.sessions.require(session_id)) == ["one"]


async def test_the_last_one_of_several(flywheel: Flywheel) -> None:
    """One that failed for sure leaves the one before it open: its caller was told what was wrong with it."""
    session_id = (await flywheel.ask("one")).session_id
    await cancelled(flywheel, session_id, "two")
    with pytest.raises(FlowUnsettled):
        await flywheel.ask("three", session_id=session_id, flow="hasty")
    assert "'three'" in (await told(flywheel, session_id) or "")
    await cancelled(flywheel, session_id, "four")
    with pytest.raises(FlowFailed, match="raised RuntimeError"):
        await flywheel.ask("five", session_id=session_id, flow="fail")
    assert "'four'" in (await told(flywheel, session_id) or "")


async def test_one_that_is_answered_in_the_end(flywheel: Flywheel) -> None:
    """Read back from the flow's server, it is a turn like any other."""
    session_id = (await flywheel.ask("one", flow="flow")).session_id
    with pytest.raises(FlowUnsettled):
        await flywheel.ask("lose this", session_id=session_id)
    assert await told(flywheel, session_id) is None
    assert questions(await flywheel.sessions.require(session_id)) == ["one", "lose this"]


async def test_a_client_that_answers_by_itself(flywheel: Flywheel) -> None:
    """Its turn is newer, so the question is not open any more."""
    session_id = (await flywheel.ask("one")).session_id
    await cancelled(flywheel, session_id, "two")
    session = await flywheel.sessions.require(session_id)
    session.record(question="two", response="I know", flow_id="client")
    await flywheel.sessions.save_session(session)
    assert await told(flywheel, session_id) is None


async def test_a_fork(flywheel: Flywheel) -> None:
    """What is open in a session is not so in those that were forked from it."""
    session_id = (await flywheel.ask("one")).session_id
    await cancelled(flywheel, session_id, "two")
    fork = await flywheel.sessions.fork_session(session_id)
    assert await told(flywheel, fork.id) is None


async def test_what_a_cancelled_flow_changed_is_not_kept(world: World) -> None:
    asked = asyncio.Event()

    async def change(question: str, session: object) -> str:
        session.context["half"] = "done"  # type: ignore[attr-defined]  # it is a session
        asked.set()
        return await flows.wait(question)

    flywheel = Flywheel(SessionManager(world.open(), budget=10), FlowRegistry([PythonFlow("f", change)], "f"))
    asking = asyncio.create_task(flywheel.ask("one"))
    await asked.wait()
    asking.cancel()
    await asyncio.wait((asking,))
    (summary,) = await flywheel.sessions.list_sessions()
    session = await flywheel.sessions.require(summary.id)
    assert session.context == {}
    assert re.match("your last question 'one' was cancelled", await told(flywheel, session.id) or "")
