"""What a flow's server lost of a conversation, or never had, it is told again; an ordinary turn costs no more."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentic_flywheel import Flywheel
from agentic_flywheel.backends import presence
from agentic_flywheel.errors import FlowFailed, FlowUnsettled
from agentic_flywheel.flywheel import rehydration
from agentic_flywheel.recent import Recent
from agentic_flywheel.session import Execution
from tests.flywheel.conftest import Open
from tests.support.flow_servers import (
    FlowiseServer,
    LangflowServer,
    Late,
    Nth,
    Once,
    ServedFlows,
    half,
    never,
    page,
)
from tests.support.flow_servers.faults import Fault

SAID = ("alpha", "beta", "gamma", "delta")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """One store is enough here."""
    return f"sqlite://{tmp_path}/sessions.db"


@pytest.fixture
def reopen(open_flywheel: Open, served: ServedFlows) -> Callable[..., Flywheel]:
    """Another process, with its flow on the server."""
    return lambda **options: open_flywheel(served, **options)


Reopen = Callable[..., Flywheel]


async def converse(flywheel: Flywheel, *said: str) -> str:
    """A session in which this was said."""
    session_id = (await flywheel.ask(said[0])).session_id
    for text in said[1:]:
        await flywheel.ask(text, session_id=session_id)
    return session_id


async def note_of(flywheel: Flywheel, turn_id: str) -> tuple[int, int] | None:
    """How many turns, and of how many, an execution says that were told again."""
    execution = await flywheel.sessions.load_execution(turn_id)
    assert execution is not None
    noted = execution.extra.get("rehydrated")
    return (noted["turns"], noted["of"]) if noted else None


def keep(served: ServedFlows, *turns: int) -> None:
    """Restart the server with a database that has only these turns."""
    assert isinstance(served, FlowiseServer | LangflowServer)
    served.kill()
    served.messages = [served.messages[place] for turn in turns for place in (2 * turn, 2 * turn + 1)]
    served.start()


def known(served: ServedFlows) -> list[str]:
    """What was said as the flow knew it when it was asked last, in the order in which it knew it."""
    assert isinstance(served, FlowiseServer | LangflowServer)
    earlier = [each["content"] for each in json.loads(served.runs()[-1].body).get("history", ())]
    texts = [*earlier, *(each.get("content") or each["text"] for each in served.messages[:-1])]
    repeated = re.compile(r"(turn \d+: )\[.*\n", re.DOTALL)  # all of a question, with what was told before it
    heard = [repeated.sub(r"\1", text) if repeated.match(text) else text for text in texts]
    said: list[str] = re.findall(r"turn \d+: (\w+)", "\n".join(heard))
    return [word for word in said if word in SAID]


@pytest.mark.parametrize("by_us", ["in the same process", "in another process"])
@pytest.mark.parametrize(
    "kept", [(0, 1), (2, 3), (0, 3), (1, 3), ()], ids=["newest", "oldest", "middle", "here and there", "all"]
)
async def test_turns_that_were_lost(reopen: Reopen, served: ServedFlows, kept: tuple[int, ...], by_us: str) -> None:
    """They are told again, each once and where it belongs, as far as the server allows; the execution notes it."""
    flywheel = reopen()
    session_id = await converse(flywheel, *SAID)
    keep(served, *kept)
    if by_us == "in another process":
        flywheel = reopen()
    reply = await flywheel.ask("now", session_id=session_id)
    told = 4 - len(kept)
    assert await note_of(flywheel, reply.turn_id) == (told, 4)
    heard = known(served)
    assert sorted(heard) == sorted(SAID)
    kept_are_first = [SAID[place] for place in kept] == heard[: len(kept)]
    in_order = {(0, 1), ()} if isinstance(served, LangflowServer) else {(0, 1), (2, 3), ()}
    assert heard == list(SAID) if kept in in_order else kept_are_first or kept == (1, 3)


@pytest.mark.parametrize("kept", [(0, 1), (2, 3), (0, 3), ()], ids=str)
async def test_after_they_were_told(reopen: Reopen, served: ServedFlows, kept: tuple[int, ...]) -> None:
    """Later turns know of them, too, in this process and another; what is told once more is noted once more."""
    flywheel = reopen()
    session_id = await converse(flywheel, *SAID)
    keep(served, *kept)
    await flywheel.ask("now", session_id=session_id)
    for asking in (flywheel, flywheel, reopen()):
        reply = await asking.ask("then", session_id=session_id)
        assert sorted(known(served)) == sorted(SAID)
        history = json.loads(served.runs()[-1].body).get("history", ())
        noted = await note_of(asking, reply.turn_id)
        assert (noted[0] if noted else 0) == len(history) / 2


class TestCalls:
    """What it costs to know what a server has."""

    async def test_an_ordinary_turn(self, reopen: Reopen, served: ServedFlows) -> None:
        """The first turn of a process in a conversation asks; then nothing but the questions is sent."""
        session_id = await converse(reopen(), "one", "two")
        assert {each.method for each in served.asked} == {"POST"}
        flywheel = reopen()
        served.asked.clear()
        for _ in range(3):
            await flywheel.ask("again", session_id=session_id)
        assert [each.method for each in served.asked] == ["GET", "POST", "POST", "POST"]

    async def test_a_restart(self, reopen: Reopen, served: ServedFlows) -> None:
        """It is noticed before the next question is sent, and one more call tells that nothing is lost."""
        flywheel = reopen()
        session_id = await converse(flywheel, "one", "two")
        served.restart()
        served.asked.clear()
        reply = await flywheel.ask("three", session_id=session_id)
        assert [each.method for each in served.asked] == ["GET", "POST"]
        assert await note_of(flywheel, reply.turn_id) is None

    async def test_many_conversations_at_once(self, reopen: Reopen, served: ServedFlows) -> None:
        """Each is asked about when its server may have been away, and not because others are busy there."""
        flywheel = reopen()
        await asyncio.gather(*(converse(flywheel, *SAID) for _ in range(10)))
        assert [each.method for each in served.asked] == ["POST"] * 40

    async def test_processes_that_take_turns(self, reopen: Reopen, served: ServedFlows) -> None:
        """What another one asked the same flow is there, too."""
        one, other = reopen(), reopen()
        session_id = await converse(one, "one", "two")
        await other.ask("three", session_id=session_id)
        served.asked.clear()
        for each in (one, other, one):
            await each.ask("go on", session_id=session_id)
        assert [each.method for each in served.asked] == ["POST"] * 3

    async def test_a_conversation_that_rested(
        self, reopen: Reopen, served: ServedFlows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy could keep the connection while the server behind it is replaced."""
        flywheel = reopen()
        session_id = await converse(flywheel, "one")
        monkeypatch.setattr(presence, "IDLE_SECONDS", 0)
        await flywheel.ask("two", session_id=session_id)
        assert [each.method for each in served.asked] == ["POST", "GET", "POST"]

    async def test_the_oldest_of_very_many_conversations(
        self, reopen: Reopen, served: ServedFlows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is known of conversations is bounded, and whether they are whole does not depend on it."""
        monkeypatch.setattr(rehydration, "Recent", lambda: Recent(2))
        flywheel = reopen()
        first, _, last = [await converse(flywheel, "one") for _ in range(3)]
        for session_id, methods in ((last, ["POST"]), (first, ["GET", "POST"])):
            served.asked.clear()
            await flywheel.ask("two", session_id=session_id)
            assert [each.method for each in served.asked] == methods

    @pytest.mark.parametrize("fault", [half, page(502)])
    async def test_an_answer_that_did_not_arrive(self, reopen: Reopen, served: ServedFlows, fault: Fault) -> None:
        """A proxy's error leaves the connection as it was; the server is asked all the same."""
        flywheel = reopen()
        session_id = await converse(flywheel, "one")
        served.fault = Once(fault)
        with pytest.raises(FlowUnsettled):
            await flywheel.ask("two", session_id=session_id)
        served.asked.clear()
        reply = await flywheel.ask("three", session_id=session_id)
        assert "GET" in [each.method for each in served.asked]
        assert await note_of(flywheel, reply.turn_id) is None

    async def test_a_flow_that_failed(self, reopen: Reopen, served: ServedFlows) -> None:
        """What a broken run leaves on the server is no sign of loss."""
        flywheel = reopen()
        session_id = await converse(flywheel, "one")
        with pytest.raises(FlowFailed):
            await flywheel.ask("boom", session_id=session_id)
        reply = await flywheel.ask("two", session_id=session_id)
        assert await note_of(flywheel, reply.turn_id) is None


async def test_flows_that_take_turns(open_flywheel: Open, flowise: FlowiseServer, langflow: LangflowServer) -> None:
    """Each is told what the other was asked meanwhile, once, and in its order."""
    flywheel = open_flywheel(flowise, langflow)
    session_id = (await flywheel.ask("alpha", flow="flowise")).session_id
    for text, flow in (("beta", "langflow"), ("gamma", "flowise"), ("delta", "langflow")):
        reply = await flywheel.ask(text, session_id=session_id, flow=flow)
        assert await note_of(flywheel, reply.turn_id) == (1, SAID.index(text))
    reply = await flywheel.ask("now", session_id=session_id, flow="flowise")
    assert known(flowise) == list(SAID)
    reply = await flywheel.ask("now", session_id=session_id, flow="langflow")
    assert known(langflow) == list(SAID)


class TestTelling:
    """Adding earlier turns to the messages of Langflow takes many calls, and each may go wrong."""

    async def the_session(self, flywheel: Flywheel, langflow: LangflowServer) -> str:
        session_id = await converse(flywheel, "alpha", "beta")
        langflow.restart(empty=True)
        return session_id

    @pytest.mark.parametrize("number", [1, 2, 3])
    @pytest.mark.parametrize("fault", [half, never, page(500)])
    async def test_one_that_breaks_off(
        self, open_flywheel: Open, langflow: LangflowServer, number: int, fault: Fault
    ) -> None:
        """The flow was not asked, and that is certain. The next question completes what was told, once."""
        flywheel = open_flywheel(langflow, timeout=1.0)
        session_id = await self.the_session(flywheel, langflow)
        langflow.adding_fault = Nth(number, fault)
        with pytest.raises(FlowFailed) as caught:
            await flywheel.ask("now", session_id=session_id)
        assert not isinstance(caught.value, FlowUnsettled)
        (failed,) = await executions(flywheel, session_id, "failed")
        assert failed.question == "now"
        assert "unsettled" not in (await flywheel.sessions.require(session_id)).metadata
        langflow.adding_fault = None
        reply = await flywheel.ask("then", session_id=session_id)
        assert known(langflow) == ["alpha", "beta"]
        assert await note_of(flywheel, reply.turn_id) is not None
        assert [json.loads(each.body)["input_value"] for each in langflow.runs()] == ["alpha", "beta", "then"]

    async def test_a_caller_who_goes(self, open_flywheel: Open, langflow: LangflowServer) -> None:
        """The flow was not asked: there is no answer to look for."""
        flywheel = open_flywheel(langflow)
        session_id = await self.the_session(flywheel, langflow)
        langflow.adding_fault = late = Late()
        asking = asyncio.create_task(flywheel.ask("now", session_id=session_id))
        await asyncio.to_thread(late.wait_until_asked)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert [each.question for each in await executions(flywheel, session_id, "cancelled")] == ["now"]
        assert "unsettled" not in (await flywheel.sessions.require(session_id)).metadata

    async def test_a_server_that_has_no_room_for_all(self, open_flywheel: Open, langflow: LangflowServer) -> None:
        """What it did not keep goes before the question; and is not told another time."""
        flywheel = open_flywheel(langflow)
        session_id = await self.the_session(flywheel, langflow)
        langflow.room = 3
        await flywheel.ask("now", session_id=session_id)
        langflow.room = None
        for asking in (flywheel, open_flywheel(langflow)):
            reply = await asking.ask("then", session_id=session_id)
            assert await note_of(asking, reply.turn_id) is None

    async def test_an_idempotent_flow_that_is_asked_once_more(
        self, open_flywheel: Open, langflow: LangflowServer
    ) -> None:
        """The question goes out again, what was told before it does not."""
        flywheel = open_flywheel(langflow, idempotent=True)
        session_id = await self.the_session(flywheel, langflow)
        langflow.fault = Once(half)
        await flywheel.ask("now", session_id=session_id)
        assert [each["text"] for each in langflow.messages if each["sender"] == "User"] == [
            "alpha",
            "beta",
            "now",
            "now",
        ]


class TestAKeyThatDoesNotOpenMessages:
    """A flow may be asked where its server's messages may not be read."""

    async def test_it_is_said_once(
        self, reopen: Reopen, served: ServedFlows, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither the key nor a question is in the log; every conversation goes on."""
        flywheel = reopen()
        session_id = await converse(flywheel, "alpha")
        served.hides_messages = True
        for _ in range(2):
            served.restart()
            await flywheel.ask("beta", session_id=session_id)
        logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(logged) == 1
        assert "its key does not open the messages of its server" in logged[0]
        assert served.key not in logged[0]

    async def test_what_our_own_record_tells(
        self, open_flywheel: Open, flowise: FlowiseServer, langflow: LangflowServer
    ) -> None:
        """Turns of another flow cannot be on the server; of its own ones nobody knows."""
        flywheel = open_flywheel(flowise, langflow)
        session_id = await converse(flywheel, "alpha", "beta")
        langflow.hides_messages = True
        reply = await flywheel.ask("gamma", session_id=session_id, flow="langflow")
        assert await note_of(flywheel, reply.turn_id) == (2, 2)
        assert known(langflow) == ["alpha", "beta"]
        again = await flywheel.ask("delta", session_id=session_id)
        assert await note_of(flywheel, again.turn_id) is None

    async def test_a_check_says_so(self, reopen: Reopen, served: ServedFlows) -> None:
        flow = next(iter(reopen().flows))
        assert "cannot be read" not in await flow.check()
        served.hides_messages = True
        assert "its messages cannot be read, so turns that it loses are not told again" in await flow.check()


async def test_a_server_that_cannot_be_asked_is_asked_again(
    reopen: Reopen, served: ServedFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question goes without what nobody knows to be lacking; the next one asks anew."""
    flywheel = reopen()
    session_id = await converse(flywheel, "alpha", "beta")
    served.restart(empty=True)
    flow = next(iter(flywheel.flows))
    with monkeypatch.context() as broken:

        async def fail(*_: Any, **__: Any) -> None:
            raise FlowFailed("not now")

        broken.setattr(flow, "messages", fail)
        reply = await flywheel.ask("gamma", session_id=session_id)
        assert await note_of(flywheel, reply.turn_id) is None
    reply = await flywheel.ask("delta", session_id=session_id)
    assert await note_of(flywheel, reply.turn_id) == (2, 3)


async def test_a_turn_that_is_too_long(reopen: Reopen, served: ServedFlows) -> None:
    """Its beginning is told, with the words that it was cut off; and once to a server that keeps it.

    What had no room beside it is told when there is.
    """
    flywheel = reopen(replay_bytes=1000)
    session_id = await converse(flywheel, "alpha", "x" * 2000)
    served.restart(empty=True)
    reply = await flywheel.ask("now", session_id=session_id)
    assert await note_of(flywheel, reply.turn_id) == (1, 2)
    told = json.loads(served.runs()[-1].body).get("history")
    if isinstance(served, LangflowServer):
        told = [{"content": each["text"]} for each in served.messages[:2]]
    assert [each["content"][-32:] for each in told] == ["x … [cut off here, it was longer]"[-32:]] * 2
    for noted in ((1, 3), (1, 4) if isinstance(served, FlowiseServer) else None):
        reply = await reopen(replay_bytes=1000).ask("then", session_id=session_id)
        assert await note_of(flywheel, reply.turn_id) == noted


async def executions(flywheel: Flywheel, session_id: str, status: str) -> list[Execution]:
    """The session's executions with this status."""
    entries = await flywheel.sessions.load_history(session_id, flywheel.flows.default)
    found = [await flywheel.sessions.load_execution(each["id"]) for each in entries if each["status"] == status]
    return [execution for execution in found if execution is not None]
