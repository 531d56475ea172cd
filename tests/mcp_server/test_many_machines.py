"""Several server processes behind a load balancer: any request to any of them, and they may be killed."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.types import TextContent

from agentic_flywheel import SessionManager
from agentic_flywheel.stores.redis_store import RedisStore
from tests.conftest import start_or_report
from tests.support.balancer import Balancer
from tests.support.http_server import HttpServer, client_of, result_of
from tests.support.servers import Server

PROCESSES = 3
CLIENTS = 200
TURNS = 3
KILLS = 3
PATIENCE = 40.0  # seconds that a client waits for an answer before it asks again

# A machine that is busy with these very tests is not to be taken for one whose Redis is away.
SETTINGS = '[journal]\nbudget_ms = 20000\n[flows.echo]\ntarget = "tests.mcp_server.flows:echo"\n'


@dataclass
class Conversation:
    """A client's: how far it has come, and how often it had to ask again."""

    mode: str
    session_id: str = ""
    answered: int = 0
    again: int = 0

    async def hold(self, url: str) -> None:
        """Ask on until all is answered; with a new connection where one broke."""
        while self.answered < TURNS:
            try:
                async with client_of(url, self.mode, keep_alive=False) as client:
                    await self._ask_on(client)
            except (MCPError, httpx2.TransportError, OSError, ExceptionGroup) as error:
                _insist_that_it_broke(error)
                self.again += 1

    async def _ask_on(self, client: Client) -> None:
        async with asyncio.timeout(PATIENCE):
            self.session_id = self.session_id or (await result_of(client, "create_session"))["session_id"]
        while self.answered < TURNS:
            async with asyncio.timeout(PATIENCE):
                await self._ask(client, f"number {self.answered}")
            self.answered += 1

    async def _ask(self, client: Client, question: str) -> None:
        """One question: sent again, it has the same key; if its run was cut off, it is asked with another one."""
        for run in range(KILLS + 1):
            given = {"question": question, "session_id": self.session_id, "request_key": f"{question}, run {run}"}
            result = await client.call_tool("run_flow", given | {"flow_id": "echo"})
            if not result.is_error:
                return
            (content,) = result.content
            assert isinstance(content, TextContent)
            assert "another request_key" in content.text
        raise AssertionError("it was cut off more often than a process was killed")


def _insist_that_it_broke(error: Exception) -> None:
    """Let nothing pass for a broken connection that is none."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            _insist_that_it_broke(inner)
    elif not isinstance(error, MCPError | httpx2.TransportError | OSError):
        raise error


@pytest.fixture
def redis() -> Iterator[Server]:
    """A Redis of one kind: what differs between the kinds is not what is tried here."""
    with start_or_report("redis-server") as server:
        yield server


@pytest.fixture
def machines(redis: Server, tmp_path: Path) -> Iterator[list[HttpServer]]:
    """Servers on one Redis, each with files of its own."""
    settings = tmp_path / "flywheel.toml"
    settings.write_text(SETTINGS)
    given = {"FLYWHEEL_CONFIG": str(settings), "FLYWHEEL_REDIS_URL": redis.url}
    with ExitStack() as stack:
        servers = [
            HttpServer(tmp_path, {**given, "FLYWHEEL_STATE_DIR": str(tmp_path / f"machine-{number}")})
            for number in range(PROCESSES)
        ]
        for server in servers:
            stack.callback(server.kill)
            server.spawn()
        for server in servers:
            server.await_answer()
        yield servers


async def kill_now_and_then(machines: Sequence[HttpServer], conversations: Sequence[Conversation]) -> None:
    """Kill one of the servers each time when so much more is answered, and start it again."""
    total = len(conversations) * TURNS
    for number, machine in enumerate(random.sample(machines, KILLS)):
        while sum(each.answered for each in conversations) < total * (number + 1) / (KILLS + 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        machine.kill()
        await asyncio.sleep(0.5)
        machine.spawn()
        await asyncio.to_thread(machine.await_answer)


async def test_every_turn_is_there_once_and_in_order(machines: list[HttpServer], redis: Server) -> None:
    """Whichever server answered, and though each of them is killed in the middle of it; for both eras at once."""
    conversations = [Conversation("auto" if number % 2 else "legacy") for number in range(CLIENTS)]
    async with Balancer([machine.port for machine in machines]) as balancer, asyncio.TaskGroup() as group:
        killing = group.create_task(kill_now_and_then(machines, conversations))
        held = [group.create_task(conversation.hold(balancer.url)) for conversation in conversations]
        await asyncio.gather(killing, *held)
    assert set(balancer.taken) == {machine.port for machine in machines}
    async with SessionManager(RedisStore(redis.url, prefix="agentic_flywheel"), budget=20) as sessions:
        for conversation in conversations:
            session = await sessions.require(conversation.session_id)
            assert [turn["question"] for turn in session.history] == [f"number {turn}" for turn in range(TURNS)]
    assert sum(conversation.again for conversation in conversations)  # the kills were felt
