"""A client that asks for it is told how its call goes; one that gives a call up leaves nothing behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentic_flywheel import SessionManager
from agentic_flywheel.config import Settings
from agentic_flywheel.errors import FlywheelError
from agentic_flywheel.mcp_server import progress
from agentic_flywheel.mcp_server.client import Connection, connected
from agentic_flywheel.mcp_server.progress import Progress
from agentic_flywheel.wiring import open_manager
from tests.resilience.outage import until
from tests.support.flow_servers import FlowiseServer, Late, half
from tests.support.flow_servers.flowise import MODEL

from .conftest import COMMAND, Serve
from .test_once import callers

ON_FLOWISE = """
[servers.studio]
backend = "flowise"
url = "{url}"
key_env = "STUDIO_KEY"
[flows.model]
server = "studio"
flow = "{flow}"
stream = true
"""
SPEAKING = (sys.executable, "-m", "tests.mcp_server.speaking")


class Told:
    """What a client is told of a call."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.messages: list[str] = []

    async def take(self, progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        self.at.append(progress)
        self.messages.append(message or "")


async def run_flow(server: Connection, told: Told, **arguments: Any) -> dict[str, Any]:
    result = await server.client.call_tool("run_flow", arguments, progress_callback=told.take)
    assert not result.is_error
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def test_an_answer_is_told_as_it_is_made(environ: Mapping[str, str], mode: str) -> None:
    """First which flow was asked, then the pieces of its answer, many of them in one message."""
    words = " ".join(f"word{number}" for number in range(300))
    told = Told()
    async with connected(SPEAKING, environ, mode=mode) as server:
        answer = await run_flow(server, told, question=words)
    assert told.messages[0] == "asked flow speak"
    assert "".join(told.messages[1:]) == answer["response"] == f"{words} "
    assert len(told.messages) < 30
    assert told.at == sorted(set(told.at))


async def test_who_does_not_ask_for_it_is_not_told(environ: Mapping[str, str], mode: str) -> None:
    """And the flow need not make its answer piece by piece."""
    async with connected(SPEAKING, environ, mode=mode) as server:
        assert (await server.call("run_flow", question="listening?"))["response"] == "listening: False"
        assert (await run_flow(server, Told(), question="listening!"))["response"] == "listening: True"


async def test_a_call_that_is_given_up(serve: Serve, any_store: Mapping[str, str], mode: str) -> None:
    """It is on record as cancelled, the flow is no longer run, and the session takes the next question at once."""
    async with serve() as server, callers() as (taken, question):
        session_id = (await server.call("run_flow", question="remember a: 1"))["session_id"]
        arguments = {"question": question, "session_id": session_id, "flow_id": "wait"}
        running = asyncio.create_task(server.client.call_tool("run_flow", arguments))
        await taken.first.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await taken.gone.wait()
        await until_told(server, session_id, f"your last question '{question}' was cancelled after ")
        after = await server.call("run_flow", question="Which a?", session_id=session_id, flow_id="recap")
    assert after["repeated"] is False
    manager = open_manager(Settings.load(environ=dict(any_store)))
    (entry,) = await manager.load_history(session_id, "wait")
    execution = await manager.load_execution(entry["id"])
    assert execution is not None
    assert (execution.status, execution.error) == ("cancelled", "the caller cancelled it")
    assert await manager.store.claimed(session_id) is None
    await manager.close()


async def until_told(server: Connection, session_id: str, what: str) -> None:
    """Wait until whoever resumes a session is told this of its last question."""

    async def told() -> bool:
        view = await server.call("resume_session", session_id=session_id)
        return (view["interrupted"] or "").startswith(what)

    await until(told)


@pytest.fixture
def flowise(environ: dict[str, str]) -> Iterator[FlowiseServer]:
    """A Flowise with a flow that streams, and settings that name it."""
    with FlowiseServer(key="sk-planted") as server:
        Path(environ["FLYWHEEL_CONFIG"]).write_text(ON_FLOWISE.format(url=server.url, flow=MODEL))
        environ["STUDIO_KEY"] = "sk-planted"
        yield server


async def test_a_flow_on_a_server(flowise: FlowiseServer, environ: dict[str, str], mode: str) -> None:
    """What it streams reaches the client as it comes; an answer that breaks off is read back later."""
    told = Told()
    async with connected(COMMAND, environ, mode=mode) as server:
        answer = await run_flow(server, told, question="word by word", flow_id="model")
        flowise.fault = half
        with pytest.raises(FlywheelError) as caught:
            await server.call("run_flow", question="lost", session_id=answer["session_id"], flow_id="model")
        view = await server.call("resume_session", session_id=answer["session_id"])
    assert told.messages[0] == "asked flow model"
    assert "".join(told.messages[1:]) == answer["response"] == "turn 1: word by word"
    assert "flow 'model'" in str(caught.value)
    assert "the next run_flow or resume_session of the session records that" in str(caught.value)
    assert [turn["question"] for turn in view["last_turns"]] == ["word by word", "lost"]
    assert "sk-planted" not in str(caught.value)


async def test_a_call_of_a_flow_on_a_server_that_is_given_up(
    flowise: FlowiseServer, environ: dict[str, str], mode: str
) -> None:
    """The server finishes the turn all the same: it is read back, and the run stays cancelled."""
    manager = open_manager(Settings.load(environ=environ))
    async with connected(COMMAND, environ, mode=mode) as server:
        session_id = (await server.call("run_flow", question="one", flow_id="model"))["session_id"]
        flowise.fault = late = Late()
        arguments = {"question": "two", "session_id": session_id}
        running = asyncio.create_task(server.client.call_tool("run_flow", arguments))
        await asyncio.to_thread(late.wait_until_asked)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until_nobody_runs(manager, session_id)
        await asyncio.to_thread(late.let_go)
        view = await server.call("resume_session", session_id=session_id)
    assert [turn["response"] for turn in view["last_turns"]] == ["turn 1: one", "turn 2: two"]
    assert view["interrupted"] is None
    entries = await manager.load_history(session_id, "model")
    assert [entry["status"] for entry in entries] == ["completed", "cancelled"]
    await manager.close()


async def until_nobody_runs(manager: SessionManager, session_id: str) -> None:
    """Wait until the server has heard that its caller went."""

    async def nobody() -> bool:
        return await manager.store.claimed(session_id) is None

    await until(nobody)


class TestNotifications:
    """What is sent when; to a list."""

    @pytest.fixture
    def told(self) -> Told:
        return Told()

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "STILL_SECONDS", 0.02)
        monkeypatch.setattr(progress, "PAUSE_SECONDS", 0.01)

    async def test_a_flow_that_takes_long(self, told: Told) -> None:
        """Is said to be still running, again and again."""
        telling = asyncio.create_task(Progress(told.take).tell())
        async with asyncio.timeout(30):
            while len(told.messages) < 3:  # noqa: ASYNC110  # the list has no event
                await asyncio.sleep(0.01)
        telling.cancel()
        assert told.messages[:3] == ["still running, 0 s"] * 3

    async def test_what_was_not_told_yet(self, told: Told) -> None:
        """Is told when the call has ended: which flow was asked apart from what it said."""
        telling = Progress(told.take)
        telling.asked("flow")
        telling.said("one ")
        telling.said("two\ud83d")
        await telling.tell_the_rest()
        assert told.messages == ["asked flow flow", "one two\ufffd"]

    async def test_a_client_that_cannot_be_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Is not told any more, and nothing else happens."""
        times = 0

        async def fail(at: float, total: float | None, message: str) -> None:
            nonlocal times
            times += 1
            raise BrokenPipeError(f"the secret {message}")

        telling = Progress(fail)
        telling.said("one")
        await telling.tell()
        telling.said("two")
        await telling.tell_the_rest()
        assert times == 1
        assert "BrokenPipeError" in caplog.text
        assert "secret" not in caplog.text

    async def test_a_client_that_does_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Is not waited for."""
        monkeypatch.setattr(progress, "LAST_SECONDS", 0.01)

        async def hang(at: float, total: float | None, message: str) -> None:
            await asyncio.Event().wait()

        telling = Progress(hang)
        telling.said("one")
        await asyncio.wait_for(telling.tell_the_rest(), 30)
