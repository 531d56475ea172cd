"""A conversation with a flow goes on, whatever is restarted, emptied or killed on the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agentic_flywheel import Flywheel, UniversalSession
from agentic_flywheel.errors import FlowFailed, FlowUnsettled
from tests.flywheel.conftest import Open
from tests.resilience.outage import until
from tests.stores.test_sqlite import ROOT
from tests.support.flow_servers import FlowiseServer, LangflowServer, Late, Once, ServedFlows, Slow, half, never
from tests.support.values import questions

SAID = "what did I say?"
PATIENCE = 60.0


async def test_everything_is_restarted(open_flywheel: Open, served: ServedFlows) -> None:
    """The flow's server and ours: what was said before is there, and is not told again."""
    session_id = (await open_flywheel(served).ask("my cat is called Mo")).session_id
    served.restart()
    flywheel = open_flywheel(served)
    reply = await flywheel.ask(SAID, session_id=session_id)
    assert "my cat is called Mo" in reply.text
    execution = await flywheel.sessions.load_execution(reply.turn_id)
    assert execution is not None
    assert (execution.status, execution.session_id) == ("completed", session_id)
    assert "rehydrated" not in execution.extra


@pytest.mark.parametrize("by_us", ["in the same process", "in another process"])
async def test_the_server_lost_its_database(open_flywheel: Open, served: ServedFlows, by_us: str) -> None:
    """The turns that we have go along with the next question, and the execution notes how many."""
    flywheel = open_flywheel(served)
    session_id = (await flywheel.ask("my cat is called Mo")).session_id
    await flywheel.ask("she is five", session_id=session_id)
    served.restart(empty=True)
    if by_us == "in another process":
        flywheel = open_flywheel(served)
    reply = await flywheel.ask(SAID, session_id=session_id)
    assert "my cat is called Mo" in reply.text
    assert "she is five" in reply.text
    execution = await flywheel.sessions.load_execution(reply.turn_id)
    assert execution is not None
    assert (execution.extra["rehydrated"]["turns"], execution.extra["rehydrated"]["of"]) == (2, 2)
    again = await flywheel.ask(SAID, session_id=session_id)
    assert "my cat is called Mo" in again.text


async def test_processes_that_take_turns(open_flywheel: Open, served: ServedFlows) -> None:
    """Each goes on where the other was, and the server is told nothing twice."""
    one, other = open_flywheel(served), open_flywheel(served)
    session_id = (await one.ask("one")).session_id
    said = [(await each.ask("go on", session_id=session_id)).text for each in (other, one, other, one)]
    assert ["".join(filter(str.isdigit, text)) for text in said] == ["2", "3", "4", "5"]


async def test_moved_from_one_product_to_the_other(
    open_flywheel: Open, flowise: FlowiseServer, langflow: LangflowServer
) -> None:
    """The session goes on at the other one with what it knows."""
    flywheel = open_flywheel(flowise, langflow)
    session_id = (await flywheel.ask("my cat is called Mo", flow="flowise")).session_id
    reply = await flywheel.ask(SAID, session_id=session_id, flow="langflow")
    assert "my cat is called Mo" in reply.text
    execution = await flywheel.sessions.load_execution(reply.turn_id)
    assert execution is not None
    assert (execution.extra["rehydrated"]["turns"], execution.extra["rehydrated"]["of"]) == (1, 1)
    assert (await flywheel.ask("and now?", session_id=session_id)).flow_id == "langflow"


class TestUnsettled:
    """A turn whose answer did not reach us: the server has it."""

    async def test_that_broke_off(self, open_flywheel: Open, served: ServedFlows) -> None:
        """It is unknown, and the next question finds it answered."""
        flywheel = open_flywheel(served)
        session_id = (await flywheel.ask("one")).session_id
        served.fault = Once(half)
        with pytest.raises(FlowUnsettled):
            await flywheel.ask("two", session_id=session_id)
        assert questions(await flywheel.sessions.require(session_id)) == ["one"]
        await flywheel.ask("three", session_id=session_id)
        session = await flywheel.sessions.require(session_id)
        assert questions(session) == ["one", "two", "three"]
        assert "2" in session.history[1].response
        assert "3" in session.history[2].response
        execution = await flywheel.sessions.load_execution(session.history[1]["id"])
        assert execution is not None
        assert (execution.status, execution.text) == ("completed", session.history[1].response)
        assert "settled" in execution.extra
        assert len(served.runs()) == 3

    async def test_that_came_too_late(self, open_flywheel: Open, served: ServedFlows) -> None:
        """After our time-out, and after another turn: it is put where it belongs when the session is resumed."""
        flywheel = open_flywheel(served)
        session_id = (await flywheel.ask("one")).session_id
        served.fault = late = Late()
        with pytest.raises(FlowUnsettled, match=r"did not answer within 0\.3 s"):
            await hastily(flywheel, "two", session_id)
        served.fault = None
        await flywheel.ask("three", session_id=session_id)
        assert questions(await flywheel.sessions.require(session_id)) == ["one", "three"]
        late.let_go()
        resumed = await open_flywheel(served).resume(session_id)
        assert questions(resumed.session) == ["one", "two", "three"]
        assert "two" in resumed.session.history[1].response

    async def test_of_a_process_that_was_killed(
        self, open_flywheel: Open, flowise: FlowiseServer, store: str, tmp_path: Path
    ) -> None:
        """SIGKILL in mid-turn: told of while the server has no answer, and read back when it has."""
        flywheel = open_flywheel(flowise)
        session_id = (await flywheel.ask("one")).session_id
        flowise.fault = late = Late()
        process = await ask_in_a_process(store, tmp_path, flowise, session_id, "two")
        await until_asked(flowise, 2)
        process.kill()
        await process.communicate()
        interrupted = (await flywheel.resume(session_id)).interrupted
        assert interrupted is not None
        assert "'two' was interrupted" in str(interrupted)
        flowise.fault = None
        late.let_go()
        resumed = await flywheel.resume(session_id)
        assert (questions(resumed.session), resumed.interrupted) == (["one", "two"], None)
        reply = await flywheel.ask("three", session_id=session_id)
        assert reply.text == "turn 3: three"

    async def test_that_was_never_begun(self, open_flywheel: Open, served: ServedFlows) -> None:
        """It stays unknown, and the session goes on."""
        flywheel = open_flywheel(served)
        session_id = (await flywheel.ask("one")).session_id
        served.fault = Once(never)
        with pytest.raises(FlowUnsettled):
            await hastily(flywheel, "two", session_id)
        await flywheel.ask("three", session_id=session_id)
        assert questions(await flywheel.sessions.require(session_id)) == ["one", "three"]
        (unknown,) = [
            entry
            for entry in await flywheel.sessions.load_history(session_id, flywheel.flows.default)
            if entry["status"] != "completed"
        ]
        assert (unknown["question"], unknown["status"]) == ("two", "unknown")


async def test_a_server_that_is_away(open_flywheel: Open, served: ServedFlows) -> None:
    """A question that could not be sent is failed, not unknown, and the session works when the server is back."""
    flywheel = open_flywheel(served)
    session_id = (await flywheel.ask("one")).session_id
    served.kill()
    with pytest.raises(FlowFailed) as caught:
        await flywheel.ask("two", session_id=session_id)
    assert not isinstance(caught.value, FlowUnsettled)
    served.start()
    await flywheel.ask("three", session_id=session_id)
    assert questions(await flywheel.sessions.require(session_id)) == ["one", "three"]


async def test_a_caller_who_goes(open_flywheel: Open, served: ServedFlows) -> None:
    """The run is on record as cancelled, and the next question does not wait for it."""
    flywheel = open_flywheel(served)
    session_id = (await flywheel.ask("one")).session_id
    served.fault = Once(never)
    asking = asyncio.create_task(flywheel.ask("two", session_id=session_id))
    await until_asked(served, 2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await flywheel.ask("three", session_id=session_id)
    history = await flywheel.sessions.load_history(session_id, flywheel.flows.default)
    assert [entry["status"] for entry in history] == ["completed", "cancelled", "completed"]


@pytest.mark.parametrize("looks", ["ask", "resume"])
async def test_a_caller_who_goes_before_the_answer_is_there(
    open_flywheel: Open, served: ServedFlows, looks: str
) -> None:
    """The server finishes the turn, and knows of it: so it is on record, too, and its run stays cancelled."""
    flywheel = open_flywheel(served)
    session_id = (await flywheel.ask("one")).session_id
    await ask_and_go(flywheel, served, session_id)
    if looks == "ask":
        await flywheel.ask("three", session_id=session_id)
    else:
        await flywheel.resume(session_id)
    session = await flywheel.sessions.require(session_id)
    assert questions(session)[:2] == ["one", "two"]
    turn = session.history[1]
    assert turn.response == "turn 2: two"
    assert "unsettled" not in session.metadata
    execution = await flywheel.sessions.load_execution(str(turn.id))
    assert execution is not None
    assert (execution.status, execution.error) == ("cancelled", "the caller cancelled it")
    assert (execution.text, execution.extra["settled"]) == ("turn 2: two", "read back from the flow's server")
    again = await flywheel.ask("two", session_id=session_id, request_key="key")
    assert (again.repeated, again.text) == (True, "turn 2: two")
    assert len(served.runs()) == (3 if looks == "ask" else 2)


async def test_two_processes(open_flywheel: Open, flowise: FlowiseServer, store: str, tmp_path: Path) -> None:
    """Turns of one session are run one after another: the flow counts each of them."""
    flywheel = open_flywheel(flowise)
    session = UniversalSession(backend="flowise")
    await flywheel.sessions.save_session(session)
    flowise.fault = Slow(0.2)
    asked = [await ask_in_a_process(store, tmp_path, flowise, session.id, f"question {n}") for n in range(2)]
    said = [(await asyncio.wait_for(each.communicate(), PATIENCE))[0].decode().splitlines()[-1] for each in asked]
    assert sorted(text.partition(":")[0] for text in said) == ["turn 1", "turn 2"]
    assert len((await flywheel.sessions.require(session.id)).history) == 2


async def ask_and_go(flywheel: Flywheel, served: ServedFlows, session_id: str) -> None:
    """Ask, and cancel that; return when the server has an answer."""
    served.fault = late = Late()
    asking = asyncio.create_task(flywheel.ask("two", session_id=session_id, request_key="key"))
    await until_asked(served, 2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    served.fault = None
    await asyncio.to_thread(late.let_go)


async def hastily(flywheel: Flywheel, question: str, session_id: str) -> None:
    """Ask, and give up soon."""
    flow = flywheel.flows.get(flywheel.flows.default)
    usual, flow.timeout = flow.timeout, 0.3
    try:
        await flywheel.ask(question, session_id=session_id)
    finally:
        flow.timeout = usual


async def ask_in_a_process(
    store: str, folder: Path, flowise: FlowiseServer, session_id: str, question: str
) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.flywheel.on_servers", store, str(folder), flowise.url]
    return await asyncio.create_subprocess_exec(*command, session_id, question, cwd=ROOT, stdout=subprocess.PIPE)


async def until_asked(served: ServedFlows, times: int) -> None:
    async def asked() -> bool:
        return len(served.runs()) >= times

    await until(asked)
