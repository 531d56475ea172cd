"""A turn whose answer did not arrive is settled when the flow's server tells what it answered."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest

from agentic_flywheel import Flywheel, SessionManager, UniversalSession
from agentic_flywheel.backends import FlowRegistry, Message
from agentic_flywheel.backends.python_flow import PythonFlow
from agentic_flywheel.errors import FlowFailed, FlowUnsettled, Unavailable
from agentic_flywheel.flywheel import server_side
from agentic_flywheel.session import Execution, InFlight
from tests.flywheel.remembering import FlowServer, RememberingFlow
from tests.stores.worlds import World
from tests.support import flows
from tests.support.values import questions


@pytest.fixture
def server() -> FlowServer:
    return FlowServer()


def flywheel_on(world: World, server: FlowServer, **options: Any) -> Flywheel:
    """A flywheel as each process has its own; `flow` is on the server."""
    made = [RememberingFlow("flow", server, **options), RememberingFlow("hasty", server, timeout=0.01)]
    registry = FlowRegistry([*made, PythonFlow("echo", flows.echo)], "flow")
    return Flywheel(SessionManager(world.open(), budget=10), registry)


@pytest.fixture
def flywheel(world: World, server: FlowServer) -> Flywheel:
    return flywheel_on(world, server)


async def lose(flywheel: Flywheel, question: str = "lose this", **where: Any) -> tuple[str, str]:
    """Ask what gets no answer, in a new session if none is given: the session and the turn."""
    if "session_id" not in where:
        where["session_id"] = (await flywheel.ask("one")).session_id
    with pytest.raises(FlowUnsettled):
        await flywheel.ask(question, **where)
    session = await flywheel.sessions.require(where["session_id"])
    return session.id, session.metadata["unsettled"][-1]


async def test_the_next_question_settles_it(flywheel: Flywheel) -> None:
    """The turn stands where it belongs, as if its answer had arrived; the execution says how it was found."""
    session_id, turn_id = await lose(flywheel)
    unknown = await flywheel.sessions.load_execution(turn_id)
    assert unknown is not None
    assert (unknown.status, unknown.question) == ("unknown", "lose this")
    assert "the connection broke" in (unknown.error or "")
    await flywheel.ask("two", session_id=session_id)
    session = await flywheel.sessions.require(session_id)
    assert questions(session) == ["one", "lose this", "two"]
    turn = session.history[1]
    assert (turn.id, turn.response, turn.timestamp) == (turn_id, "answer 2 to lose this", unknown.started_at)
    assert turn.flow_id == "flow"
    assert "unsettled" not in session.metadata
    settled = await flywheel.sessions.load_execution(turn_id)
    assert settled is not None
    assert (settled.status, settled.text, settled.error) == ("completed", "answer 2 to lose this", None)
    assert settled.extra["settled"] == "read back from the flow's server"
    entries = await flywheel.sessions.load_history(session_id, "flow")
    assert [entry["status"] for entry in entries] == ["completed"] * 3


async def test_the_flow_sees_it(flywheel: Flywheel, server: FlowServer) -> None:
    """The question that settled a turn goes to its flow with that turn in the history."""
    session_id, _ = await lose(flywheel)
    await flywheel.ask("two", session_id=session_id)
    assert questions(server.questions[-1].session)[:2] == ["one", "lose this"]


async def test_a_time_out(flywheel: Flywheel) -> None:
    """A flow that did not answer within its time is unknown, not failed, and settled like any other."""
    session_id, turn_id = await lose(flywheel, "hang", flow="hasty")
    unknown = await flywheel.sessions.load_execution(turn_id)
    assert unknown is not None
    assert (unknown.status, unknown.error) == (
        "unknown",
        "flow 'hasty' did not answer within 0.01 s; raise flows.hasty.timeout",
    )
    await flywheel.ask("two", session_id=session_id)
    assert questions(await flywheel.sessions.require(session_id)) == ["one", "hang", "two"]


async def test_resume_settles_it(world: World, server: FlowServer, flywheel: Flywheel) -> None:
    """In another process, too; the session goes on with the flow that was asked last."""
    session_id, _ = await lose(flywheel)
    await lose(flywheel, "lose that", session_id=session_id, flow="hasty")
    resumed = await flywheel_on(world, server).resume(session_id, last=2)
    assert questions(resumed.session) == ["lose this", "lose that"]
    assert resumed.session.current_flow_id == "hasty"
    assert resumed.interrupted is None


async def test_an_answer_that_comes_late(flywheel: Flywheel, server: FlowServer) -> None:
    """Until it is there the session goes on without; then the turn is put before those that came after it."""
    session_id, turn_id = await lose(flywheel, "late this")
    await flywheel.ask("two", session_id=session_id)
    await flywheel.ask("three", session_id=session_id, flow="echo")
    session = await flywheel.sessions.require(session_id)
    assert questions(session) == ["one", "two", "three"]
    assert session.metadata["unsettled"] == [turn_id]
    server.answer(session_id, "late this")
    resumed = await flywheel.resume(session_id, last=2)
    assert questions(resumed.session) == ["two", "three"]
    session = await flywheel.sessions.require(session_id)
    assert questions(session) == ["one", "late this", "two", "three"]
    assert session.history[1].id == turn_id
    assert session.current_flow_id == "echo"
    assert "unsettled" not in session.metadata


async def test_two_who_settle_it_at_once(world: World, server: FlowServer, flywheel: Flywheel) -> None:
    """The turn is there once, and so is every other one."""
    session_id, _ = await lose(flywheel, "late this")
    await flywheel.ask("two", session_id=session_id)
    await lose(flywheel, "lose that", session_id=session_id)
    server.answer(session_id, "late this")
    everybody = [flywheel, *(flywheel_on(world, server) for _ in range(3))]
    await asyncio.gather(*(each.resume(session_id) for each in everybody))
    session = await flywheel.sessions.require(session_id)
    assert questions(session) == ["one", "late this", "two", "lose that"]
    assert "unsettled" not in session.metadata


async def test_where_nothing_is_kept(world: World, server: FlowServer) -> None:
    """With persistence switched off it is settled all the same, for as long as the process lives."""
    registry = FlowRegistry([RememberingFlow("flow", server)], "flow")
    flywheel = Flywheel(SessionManager(world.store, budget=10, enabled=False), registry)
    session_id, _ = await lose(flywheel)
    assert questions((await flywheel.resume(session_id)).session) == ["one", "lose this"]


async def test_a_fork(flywheel: Flywheel, server: FlowServer) -> None:
    """What is unsettled in a session is not looked for in those that were forked from it."""
    session_id, turn_id = await lose(flywheel)
    fork = await flywheel.sessions.fork_session(session_id)
    await flywheel.ask("two", session_id=fork.id)
    assert server.times_told == 0
    assert "unsettled" not in (await flywheel.sessions.require(fork.id)).metadata
    assert (await flywheel.sessions.require(session_id)).metadata["unsettled"] == [turn_id]


async def test_the_same_question_again(flywheel: Flywheel, server: FlowServer) -> None:
    """Asked again before it was settled, each turn gets its own answer."""
    session_id, _ = await lose(flywheel, "late this")
    for _ in range(2):
        await lose(flywheel, "lose it", session_id=session_id)
    assert [turn.response for turn in (await flywheel.resume(session_id)).session.history] == [
        "answer 1 to one",
        "answer 2 to lose it",
        "answer 3 to lose it",
    ]
    assert len(server.kept[session_id]) == 6


async def test_a_request_that_is_sent_again(flywheel: Flywheel, server: FlowServer, world: World) -> None:
    """With its key it is not run again: it gets the settled answer, in any process; without one it is refused."""
    session_id, turn_id = await lose(flywheel, request_key="key")
    reply = await flywheel_on(world, server).ask("lose this", session_id=session_id, request_key="key")
    assert (reply.repeated, reply.turn_id, reply.text) == (True, turn_id, "answer 2 to lose this")
    await lose(flywheel, "late this", session_id=session_id, request_key="other key")
    with pytest.raises(FlowFailed, match=r"run before, in flow 'flow', and has no answer \(unknown"):
        await flywheel.ask("late this", session_id=session_id, request_key="other key")
    assert [question.text for question in server.questions] == ["one", "lose this", "late this"]


async def test_an_idempotent_flow(world: World, server: FlowServer) -> None:
    """Of a flow that may be run twice, a request whose end nobody knows is run again under its key."""
    flywheel = flywheel_on(world, server, idempotent=True)
    session_id, turn_id = await lose(flywheel, "late this", request_key="key")
    for _ in range(2):
        with pytest.raises(FlowUnsettled):
            await flywheel.ask("late this", session_id=session_id, request_key="key")
    server.answer(session_id, "late this")
    reply = await flywheel.ask("late this", session_id=session_id, request_key="key")
    assert (reply.repeated, reply.turn_id, reply.text) == (True, turn_id, "answer 2 to late this")
    assert [question.text for question in server.questions] == ["one"] + ["late this"] * 3


async def test_nothing_to_settle(flywheel: Flywheel, server: FlowServer) -> None:
    """No server is asked for messages where no turn is unsettled, nor after one was."""
    session_id, _ = await lose(flywheel)
    assert server.times_told == 0
    await flywheel.resume(session_id)
    assert server.times_told == 1
    await flywheel.ask("two", session_id=session_id)
    await flywheel.resume(session_id)
    assert server.times_told == 1


async def test_while_a_turn_runs(flywheel: Flywheel, server: FlowServer, world: World) -> None:
    """A resume does not settle what the running turn may be writing right now."""
    session_id, _ = await lose(flywheel)
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait(question: str) -> str:
        begun.set()
        await go.wait()
        return question

    other = Flywheel(flywheel.sessions, FlowRegistry([PythonFlow("wait", wait)], "wait"))
    asking = asyncio.create_task(other.ask("two", session_id=session_id, flow="wait"))
    await begun.wait()
    await flywheel.resume(session_id)
    assert server.times_told == 0
    go.set()
    await asking
    assert questions((await flywheel.resume(session_id)).session) == ["one", "lose this", "two"]


async def test_a_flow_that_keeps_nothing(flywheel: Flywheel) -> None:
    """What can never be settled is not looked for again."""

    async def hang(question: str) -> str:
        await asyncio.Event().wait()
        return question

    registry = FlowRegistry([PythonFlow("hang", hang, timeout=0.01), PythonFlow("echo", flows.echo)], "echo")
    forgetful = Flywheel(flywheel.sessions, registry)
    session_id, turn_id = await lose(forgetful, "why", flow="hang")
    session = (await forgetful.resume(session_id)).session
    assert "unsettled" not in (await flywheel.sessions.require(session_id)).metadata
    assert questions(session) == ["one"]
    execution = await flywheel.sessions.load_execution(turn_id)
    assert execution is not None
    assert execution.status == "unknown"


async def test_a_server_that_does_not_tell(
    flywheel: Flywheel, server: FlowServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that fails, or does not answer soon, costs no turn; what it would have told is asked for again later."""
    session_id, turn_id = await lose(flywheel)
    monkeypatch.setattr(server_side, "TELL_SECONDS", 0.01)

    async def hang(conversation: str) -> list[Message] | None:
        await asyncio.Event().wait()
        return None

    async def fail(conversation: str) -> list[Message] | None:
        raise FlowFailed(f"the secret of {conversation}")

    for telling in (hang, fail):
        with monkeypatch.context() as broken:
            broken.setattr(flywheel.flows.get("flow"), "messages", telling)
            await flywheel.ask("two", session_id=session_id)
            resumed = await flywheel.resume(session_id)
            assert resumed.session.metadata["unsettled"] == [turn_id]
    assert questions((await flywheel.resume(session_id)).session) == ["one", "lose this", "two", "two"]
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "flow flow: what its server has is not known: FlowFailed" in logged
    assert "secret" not in "".join(logged)


async def test_a_flow_that_is_not_configured_here(flywheel: Flywheel) -> None:
    """Its turns stay noted: another process may know the flow."""
    session_id, turn_id = await lose(flywheel)
    other = Flywheel(flywheel.sessions, FlowRegistry([PythonFlow("echo", flows.echo)], "echo"))
    resumed = await other.resume(session_id)
    assert resumed.session.metadata["unsettled"] == [turn_id]


async def test_notes_end(flywheel: Flywheel, server: FlowServer) -> None:
    """Of turns that are gone, that ended, or that are older than a day; at most ten are noted."""
    session_id, _ = await lose(flywheel)
    session = await flywheel.sessions.require(session_id)
    old = Execution(session_id=session_id, flow_id="flow", status="unknown", started_at="2026-01-01T00:00:00Z")
    failed = Execution(session_id=session_id, flow_id="flow", status="failed")
    for execution in (old, failed):
        await flywheel.sessions.save_execution(execution)
    session.metadata["unsettled"] = ["gone", old.id, failed.id]
    await flywheel.sessions.save_session(session)
    await flywheel.resume(session_id)
    assert server.times_told == 0
    assert "unsettled" not in (await flywheel.sessions.require(session_id)).metadata
    for number in range(12):
        _, last = await lose(flywheel, f"late {number}", session_id=session_id)
    noted = (await flywheel.sessions.require(session_id)).metadata["unsettled"]
    assert (len(noted), noted[-1]) == (10, last)


async def test_notes_that_others_wrote(flywheel: Flywheel) -> None:
    """Whatever stands in their place keeps no turn from being run."""
    session = UniversalSession(backend="custom", metadata={"unsettled": {"not": "a list"}})
    await flywheel.sessions.save_session(session)
    await flywheel.ask("one", session_id=session.id)
    with pytest.raises(FlowUnsettled):
        await flywheel.ask("lose this", session_id=session.id)
    assert questions((await flywheel.resume(session.id)).session) == ["one", "lose this"]


async def test_a_session_that_was_deleted_meanwhile(flywheel: Flywheel, server: FlowServer) -> None:
    """The run stays on record, and no session comes back for it."""
    session_id = (await flywheel.ask("one")).session_id

    class Deleting(RememberingFlow):
        async def ask(self, question: Any) -> Any:
            await flywheel.sessions.delete_session(session_id)
            return await super().ask(question)

    other = Flywheel(flywheel.sessions, FlowRegistry([Deleting("flow", server)], "flow"))
    with pytest.raises(FlowUnsettled):
        await other.ask("lose this", session_id=session_id)
    entries = await flywheel.sessions.load_history(session_id, "flow")
    assert [entry["status"] for entry in entries] == ["completed", "unknown"]
    assert (await flywheel.sessions.load(session_id)).state == "absent"


class TestInterrupted:
    """A turn whose process died: nobody released its claim."""

    @pytest.fixture
    async def session_id(self, flywheel: Flywheel) -> str:
        session_id = (await flywheel.ask("one")).session_id
        gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        await gone.wait()
        turn = InFlight("turn_of_the_dead", "why", "flow", pid=gone.pid)
        await flywheel.sessions.turns.claim(session_id, turn)
        return session_id

    async def test_that_was_answered(self, flywheel: Flywheel, server: FlowServer, session_id: str) -> None:
        """Its answer is read back on resume; nothing was interrupted then."""
        server.answer(session_id, "why")
        resumed = await flywheel.resume(session_id)
        assert resumed.interrupted is None
        assert questions(resumed.session) == ["one", "why"]
        assert resumed.session.history[-1].id == "turn_of_the_dead"
        await flywheel.ask("two", session_id=session_id)
        assert questions(await flywheel.sessions.require(session_id)) == ["one", "why", "two"]

    async def test_that_was_not(self, flywheel: Flywheel, session_id: str) -> None:
        """It is told of; the next question puts it on record as unknown, and goes on looking."""
        interrupted = (await flywheel.resume(session_id)).interrupted
        assert interrupted is not None
        assert "'why' was interrupted" in str(interrupted)
        await flywheel.ask("two", session_id=session_id)
        session = await flywheel.sessions.require(session_id)
        assert questions(session) == ["one", "two"]
        assert session.metadata["unsettled"] == ["turn_of_the_dead"]

    async def test_that_was_recorded(self, flywheel: Flywheel, session_id: str) -> None:
        """Its process died between the record and the release; nothing of the record is lost, not even unread."""
        session = await flywheel.sessions.require(session_id)
        session.record(id="turn_of_the_dead", question="why", response="because", flow_id="flow")
        await flywheel.sessions.save_session(session)
        store = flywheel.sessions.store
        execution, tells = store.execution, False

        async def tell(execution_id: str) -> bytes | None:
            if not tells:
                raise Unavailable("not now")
            return await execution(execution_id)

        store.execution = tell  # type: ignore[method-assign]  # a store that is away for a moment
        await flywheel.ask("two", session_id=session_id)
        tells = True
        assert questions(await flywheel.sessions.require(session_id)) == ["one", "why", "two"]
        kept = await flywheel.sessions.load_execution("turn_of_the_dead")
        assert kept is not None
        assert (kept.status, kept.output) == ("completed", "because")

    async def test_that_the_next_question_settles(
        self, flywheel: Flywheel, server: FlowServer, session_id: str
    ) -> None:
        """Without a resume before."""
        server.answer(session_id, "why")
        await flywheel.ask("two", session_id=session_id)
        assert questions(await flywheel.sessions.require(session_id)) == ["one", "why", "two"]
