"""Over MCP, a foreign handle is answered after as long as an unknown one: time tells nobody whose it is.

Each answer of Redis is held back for some milliseconds, so that a round trip more would be seen through the noise
of a busy machine; what is foreign is large, so that it would be seen if it were read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from mcp import Client, MCPError
from msgspec.structs import replace

from agentic_flywheel import UniversalSession
from agentic_flywheel.config import JournalSettings, Settings, StoreSettings
from agentic_flywheel.config.http import TABLE
from agentic_flywheel.mcp_server.tokens import new_token
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.owned import acting_as
from agentic_flywheel.wiring import open_manager
from tests.support.http_server import HttpServer, client_of
from tests.support.proxy import Proxy
from tests.support.servers import Server

ANNA, BEN = principal_of(TABLE, "anna"), principal_of(TABLE, "ben")
UNKNOWN = "session_" + 32 * "0"
HELD_BACK = 0.01  # seconds
NOISE = HELD_BACK / 2
REPEATS = 15
TURNS, TURN_SIZE = 200, 20_000


@dataclass
class Asked:
    """What calls took: seconds, and requests to Redis."""

    seconds: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Ben's client of a server; Anna has a session and so has he."""

    ben: Client
    annas: UniversalSession
    bens: UniversalSession
    asked_of_the_store: Callable[[], int]

    async def times(self, call: str, *arguments: dict[str, Any]) -> list[Asked]:
        """What a tool, or reading a resource, takes with each of the arguments in turn, again and again."""
        found = [Asked() for _ in arguments]
        for _ in range(REPEATS):
            for asked, given in zip(found, arguments, strict=True):
                before, start = self.asked_of_the_store(), time.perf_counter()
                await self._ask(call, given)
                asked.seconds.append(time.perf_counter() - start)
                asked.requests.append(self.asked_of_the_store() - before)
        return found

    async def _ask(self, call: str, given: dict[str, Any]) -> None:
        if call != "resource":
            await self.ben.call_tool(call, given)
            return
        try:
            await self.ben.read_resource(f"flywheel://session/{given['session_id']}")
        except MCPError as error:
            assert "no session" in str(error)  # noqa: PT017  # Ben's own is there


def talk(turns: int) -> UniversalSession:
    session = UniversalSession(backend="custom", current_flow_id="echo")
    for number in range(turns):
        session.record(question=f"question {number}", response="x" * TURN_SIZE, flow_id="echo")
    return session


ON_EACH = pytest.mark.parametrize("kind", ["sqlite", "redis"])


@asynccontextmanager
async def serving(kind: str, redis_server: Server, tmp_path: Path) -> AsyncIterator[Place]:
    """On each store that users share; Redis far away."""
    tokens = {name: new_token(name) for name in ("anna", "ben")}
    (tmp_path / "tokens").write_text("\n".join(line for _, line in tokens.values()))
    (tmp_path / "flywheel.toml").write_text(
        'default_flow = "echo"\n[flows.echo]\ntarget = "tests.mcp_server.flows:echo"\n'
        f'[journal]\nbudget_ms = 20000\n[http.auth]\ntokens_file = "{tmp_path / "tokens"}"\n'
    )
    environ = {
        "FLYWHEEL_CONFIG": str(tmp_path / "flywheel.toml"),
        "FLYWHEEL_STATE_DIR": str(tmp_path / "state"),
        "FLYWHEEL_PREFIX": tmp_path.name,
    }
    settings = Settings(state_dir=str(tmp_path / "state"), journal=JournalSettings(budget_ms=20_000))
    async with Proxy(redis_server.port) as proxy:
        if kind == "redis":
            environ["FLYWHEEL_REDIS_URL"] = proxy.url
            settings = replace(settings, store=StoreSettings(url=proxy.url, prefix=tmp_path.name))
        annas, bens = talk(TURNS), talk(1)
        async with open_manager(settings) as sessions:
            for principal, session in ((ANNA, annas), (BEN, bens)):
                with acting_as(principal):
                    assert (await sessions.save_session(session)).outcome == "stored"
        proxy.delay(HELD_BACK)
        with HttpServer(tmp_path, environ) as server:
            async with client_of(server.url, "auto", tokens["ben"][0]) as ben:
                yield Place(ben, annas, bens, lambda: len(proxy.requests))


CALLS: dict[str, dict[str, Any]] = {
    "resume_session": {},
    "run_flow": {"question": "whose is it?"},
    "update_context": {"set": {"a": 1}},
    "delete_session": {},
    "resource": {},
    "get_execution": {},
}


@ON_EACH
async def test_a_foreign_session_takes_as_long_as_an_unknown_one(
    kind: str, redis_server: Server, tmp_path: Path
) -> None:
    """By each way to reach it, or its turns: as many requests to the store, and as much time within the noise."""
    async with serving(kind, redis_server, tmp_path) as place:
        await place.times("list_sessions", {})  # connections open, code is loaded
        for call, more in CALLS.items():
            ids = (place.annas.id, UNKNOWN)
            if call == "get_execution":
                ids = (str(place.annas.history[0].id), "turn_" + 32 * "0")
            name = "execution_id" if call == "get_execution" else "session_id"
            foreign, unknown = await place.times(call, *({name: one, **more} for one in ids))
            assert median(foreign.requests) == median(unknown.requests), call
            assert abs(median(foreign.seconds) - median(unknown.seconds)) < NOISE, call


async def test_a_round_trip_more_would_be_seen(redis_server: Server, tmp_path: Path) -> None:
    """The yardstick is fine enough: a session that is there is found with fewer requests than one that is not."""
    async with serving("redis", redis_server, tmp_path) as place:
        own, unknown = await place.times("resume_session", {"session_id": place.bens.id}, {"session_id": UNKNOWN})
        more = median(unknown.requests) - median(own.requests)
        assert more > 0
        assert (median(unknown.seconds) - median(own.seconds)) / more > NOISE
