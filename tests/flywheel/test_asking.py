"""What a question brings along: who is told what, how long its run is kept, and what closing closes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from agentic_flywheel import Flywheel, SessionManager
from agentic_flywheel.backends import Answer, Flow, FlowRegistry, Question
from agentic_flywheel.backends.python_flow import PythonFlow
from agentic_flywheel.errors import FlowFailed
from agentic_flywheel.stores import Change, Mark
from tests.flywheel.remembering import FlowServer, RememberingFlow
from tests.resilience.outage import until
from tests.stores.worlds import World
from tests.support import flows


class SpeakingFlow(Flow):
    """Says each word of the question as it comes."""

    backend = "custom"

    async def ask(self, question: Question) -> Answer:
        for word in question.text.split():
            if question.on_text is not None:
                question.on_text(word)
        return Answer(question.text)


def flywheel_on(world: World, *made: Flow) -> Flywheel:
    return Flywheel(SessionManager(world.open(), budget=10), FlowRegistry(made, made[0].id))


async def test_pieces_of_an_answer(world: World) -> None:
    """Whoever asks is told which flow was asked, and what it says as it says it."""
    flywheel = flywheel_on(world, SpeakingFlow("speak"))
    told: list[str] = []
    reply = await flywheel.ask("one two", on_asked=told.append, on_text=told.append)
    assert told == ["speak", "one", "two"]
    again = await flywheel.ask("three", session_id=reply.session_id)
    assert again.text == "three"


async def test_a_listener_that_fails(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is told nothing more, and the answer is on record all the same."""
    told = []

    def fail(piece: str) -> None:
        told.append(piece)
        raise BrokenPipeError(f"the secret {piece}")

    flywheel = flywheel_on(world, SpeakingFlow("speak"))
    reply = await flywheel.ask("one two", on_text=fail)
    assert (told, reply.text, reply.saved.outcome) == (["one"], "one two", "stored")
    assert "BrokenPipeError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_repeated_question_is_not_told_of(world: World) -> None:
    """It was not asked again."""
    flywheel = flywheel_on(world, SpeakingFlow("speak"))
    session_id = (await flywheel.ask("one")).session_id
    told: list[str] = []
    for _ in range(2):
        await flywheel.ask("two", session_id=session_id, request_key="key", on_asked=told.append)
    assert told == ["speak"]


@pytest.mark.parametrize("question", ["one", "fail", "late"])
async def test_how_long_a_run_is_kept(world: World, question: str) -> None:
    """For as long as its flow's settings say, whatever came of it; its history and its session by their own."""

    class Failing(RememberingFlow):
        async def ask(self, question: Question) -> Answer:
            if question.text == "fail":
                raise FlowFailed("it failed")
            return await super().ask(question)

    flow = Failing("flow", FlowServer())
    flow.execution_ttl = 10
    flywheel = flywheel_on(world, flow)
    session_id = (await flywheel.ask("before")).session_id
    with suppress(FlowFailed):
        await flywheel.ask(question, session_id=session_id)
    (entry,) = [
        each for each in await flywheel.sessions.load_history(session_id, "flow") if each["question"] == question
    ]
    assert await flywheel.sessions.load_execution(entry["id"]) is not None
    await world.wait(11)
    assert await flywheel.sessions.load_execution(entry["id"]) is None
    assert len(await flywheel.sessions.load_history(session_id, "flow")) == 2
    assert (await flywheel.sessions.load(session_id)).state == "found"


async def test_how_long_a_history_is_kept(world: World) -> None:
    """0 keeps for ever; the flow's other executions as usual."""
    flow = PythonFlow("echo", flows.echo)
    flow.execution_ttl, flow.history_ttl = 0, 10
    flywheel = flywheel_on(world, flow, PythonFlow("usual", flows.echo))
    reply = await flywheel.ask("one")
    usual = await flywheel.ask("two", session_id=reply.session_id, flow="usual")
    await world.wait(11)
    assert await flywheel.sessions.load_history(reply.session_id, "echo") == []
    assert len(await flywheel.sessions.load_history(reply.session_id, "usual")) == 1
    await world.wait(flywheel.sessions.ttl.execution)
    assert await flywheel.sessions.load_execution(reply.turn_id) is not None
    assert await flywheel.sessions.load_execution(usual.turn_id) is None


async def test_closing(world: World) -> None:
    """Leaving the flywheel closes its flows and its store; it may be entered again."""

    class Closing(SpeakingFlow):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    flow = Closing("speak")
    flywheel = flywheel_on(world, flow)
    for times in (1, 2):
        async with flywheel:
            await flywheel.ask("one")
        assert flow.closed == times


async def test_a_flow_that_cannot_be_closed(world: World) -> None:
    """That is told, and the store is closed all the same."""

    class Stuck(SpeakingFlow):
        async def close(self) -> None:
            raise RuntimeError("stuck")

    flywheel = flywheel_on(world, Stuck("speak"))
    closed = []

    async def close() -> None:
        closed.append(True)

    flywheel.sessions.close = close  # type: ignore[method-assign]  # to see that it is called
    with pytest.raises(RuntimeError, match="stuck"):
        async with flywheel:
            await flywheel.ask("one")
    assert closed


class Insistent:
    """Cancels a task at every turn of the event loop until it is gone, as anyio does."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    def begin(self) -> None:
        if not self._task.done():
            self._task.cancel()
            asyncio.get_running_loop().call_soon(self.begin)


async def test_a_caller_who_is_cancelled_again_and_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the caller is gone the run is on record, however long that takes, and then the session is free."""
    begun, recorded = asyncio.Event(), asyncio.Event()

    async def hang(question: str) -> str:
        begun.set()
        await asyncio.Event().wait()
        return question

    flywheel = flywheel_on(world, PythonFlow("echo", flows.echo), PythonFlow("hang", hang))
    session_id = (await flywheel.ask("one")).session_id
    write = flywheel.sessions.store.write

    async def write_slowly(change: Change, *, limit: int) -> Mark:
        await asyncio.sleep(0.05)
        written = await write(change, limit=limit)
        recorded.set()
        return written

    monkeypatch.setattr(flywheel.sessions.store, "write", write_slowly)
    asking = asyncio.create_task(flywheel.ask("why", session_id=session_id, flow="hang"))
    await begun.wait()
    Insistent(asking).begin()
    await asyncio.wait((asking,))
    assert (asking.cancelled(), recorded.is_set()) == (True, True)
    (entry,) = await flywheel.sessions.load_history(session_id, "hang")
    assert entry["status"] == "cancelled"

    async def is_free() -> bool:
        return await flywheel.sessions.turns.look(session_id) is None

    await until(is_free)
