"""Over HTTP, too, a client is told how its call goes, and a call that is given up leaves nothing behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentic_flywheel import Execution, SessionManager
from agentic_flywheel.config import Settings
from agentic_flywheel.wiring import open_manager
from tests.resilience.outage import until
from tests.support.flow_servers import FlowiseServer
from tests.support.flow_servers.flowise import MODEL
from tests.support.http_server import HttpServer, client_of, result_of

from .conftest import SETTINGS
from .test_once import callers
from .test_progress import ON_FLOWISE, Told


@pytest.fixture
def flowise() -> Iterator[FlowiseServer]:
    with FlowiseServer(key="sk-planted") as server:
        yield server


@pytest.fixture
def served(environ: dict[str, str], flowise: FlowiseServer, tmp_path: Path) -> Iterator[HttpServer]:
    """`flywheel mcp --http`, with a flow that streams, and one that waits until somebody hangs up."""
    Path(environ["FLYWHEEL_CONFIG"]).write_text(SETTINGS + ON_FLOWISE.format(url=flowise.url, flow=MODEL))
    environ["STUDIO_KEY"] = "sk-planted"
    with HttpServer(tmp_path, environ) as server:
        yield server


@asynccontextmanager
async def store_of(environ: Mapping[str, str]) -> AsyncIterator[SessionManager]:
    """The store, as another process sees it."""
    manager = open_manager(Settings.load(environ=dict(environ)))
    try:
        yield manager
    finally:
        await manager.close()


async def ended(manager: SessionManager, session_id: str) -> Execution:
    """The one execution of the flow `wait`, once it is on record and its session is free."""

    async def is_there() -> bool:
        there = await manager.load_history(session_id, "wait")
        return bool(there) and await manager.store.claimed(session_id) is None

    await until(is_there)
    (entry,) = await manager.load_history(session_id, "wait")
    execution = await manager.load_execution(entry["id"])
    assert execution is not None
    return execution


async def test_an_answer_is_told_as_it_is_made(served: HttpServer, mode: str) -> None:
    """First which flow was asked, then the pieces of its answer."""
    told = Told()
    async with client_of(served.url, mode) as client:
        arguments = {"question": "word by word", "flow_id": "model"}
        result = await client.call_tool("run_flow", arguments, progress_callback=told.take)
    assert not result.is_error
    assert told.messages[0] == "asked flow model"
    assert "".join(told.messages[1:]) == "turn 1: word by word"
    assert told.at == sorted(set(told.at))


async def test_a_call_that_is_given_up(served: HttpServer, environ: Mapping[str, str]) -> None:
    """On 2026-07-28 to close the stream of a call is to cancel it: its flow ends, and that is on record."""
    async with client_of(served.url, "auto") as client, callers() as (taken, question), store_of(environ) as store:
        session_id = (await result_of(client, "run_flow", question="remember a: 1"))["session_id"]
        arguments = {"question": question, "session_id": session_id, "flow_id": "wait"}
        running = asyncio.create_task(client.call_tool("run_flow", arguments))
        await taken.first.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await taken.gone.wait()
        execution = await ended(store, session_id)
        view = await result_of(client, "resume_session", session_id=session_id)
        after = await result_of(client, "run_flow", question="Which a?", session_id=session_id, flow_id="recap")
    assert (execution.status, execution.error) == ("cancelled", "the caller cancelled it")
    assert view["interrupted"].startswith(f"your last question '{question}' was cancelled after ")
    assert (after["repeated"], view["turns"]) == (False, 1)


async def test_a_client_that_is_killed(served: HttpServer, environ: Mapping[str, str], mode: str) -> None:
    """On 2026-07-28 that is the same. In the older era the call may be over with its connection, or be answered."""
    modern = mode == "auto"
    async with client_of(served.url, mode) as client, callers() as (taken, question), store_of(environ) as store:
        session_id = (await result_of(client, "run_flow", question="remember a: 1"))["session_id"]
        command = (sys.executable, "-m", "tests.mcp_server.calling", served.url, mode, session_id, question)
        process = await asyncio.create_subprocess_exec(*command)
        await taken.first.wait()
        process.kill()
        await process.wait()
        if not modern:
            taken.hang_up()
        execution = await ended(store, session_id)
        view = await result_of(client, "resume_session", session_id=session_id)
    assert execution.status in (("cancelled",) if modern else ("cancelled", "completed"))
    assert view["turns"] == {"cancelled": 1, "completed": 2}[execution.status]


async def test_a_client_of_the_older_era(served: HttpServer, environ: Mapping[str, str]) -> None:
    """Its cancellation is a message of its own, which belongs to no session here: the call runs to its end."""
    async with (
        client_of(served.url, "legacy") as client,
        callers() as (taken, question),
        store_of(environ) as store,
    ):
        session_id = (await result_of(client, "run_flow", question="remember a: 1"))["session_id"]
        arguments = {"question": question, "session_id": session_id, "flow_id": "wait"}
        running = asyncio.create_task(client.call_tool("run_flow", arguments))
        await taken.first.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        taken.hang_up()
        execution = await ended(store, session_id)
        view = await result_of(client, "resume_session", session_id=session_id)
    assert (execution.status, execution.text) == ("completed", "nobody waits any more")
    assert (view["turns"], view["interrupted"]) == (2, None)
