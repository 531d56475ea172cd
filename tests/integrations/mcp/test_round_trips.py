"""What state costs: one round trip to Redis before the tool, one after it, and a word beside it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from agentic_flywheel.integrations.mcp import DurableSessions, State
from agentic_flywheel.stores import redis_scripts as scripts
from tests.integrations.mcp.carts import Cart
from tests.integrations.mcp.conftest import server_with, visiting
from tests.support.proxy import Proxy
from tests.support.servers import Server

NAMES = {script.digest: name for name, script in vars(scripts).items() if isinstance(script, scripts.Script)}


def scripts_in(request: bytes) -> list[str]:
    """The scripts that a request runs, by name."""
    return [NAMES[digest] for digest in re.findall(r"[0-9a-f]{40}", request.decode("latin-1")) if digest in NAMES]


def round_trips(proxy: Proxy, start: int) -> list[list[str]]:
    """The scripts of each request since then, but for those that put a session in its place in the listing."""
    return [scripts_in(request) for request in proxy.requests[start:] if b"ZADD" not in request]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # a proxy has no event for it
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("record", [False, True])
async def test_state_costs_one_round_trip_before_and_one_after(
    redis_url: str, redis_server: Server, record: bool
) -> None:
    """Claim and load go together, and so do the state, the turn, its execution and its history."""
    async with Proxy(redis_server.port) as proxy:
        sessions = DurableSessions(proxy.url, record=record)
        server = server_with(sessions)
        starts, seen = [0], []

        @server.tool()
        async def add(session_id: str, item: str, cart: State[Cart]) -> int:
            seen.append(round_trips(proxy, starts[-1]))
            cart.items.append(item)
            return len(cart.items)

        async with visiting(server, sessions) as shop:
            session_id = await shop.begin()
            released = lambda: ["RELEASE"] in round_trips(proxy, starts[-1])  # noqa: E731
            await shop.call("add", session_id=session_id, item="x" * 8000)  # also where the state is not small
            await until(released)
            for item in ("one", "two", "three"):
                starts.append(len(proxy.requests))
                await shop.call("add", session_id=session_id, item=item)
                await until(released)
                before, after, beside = round_trips(proxy, starts[-1])
                assert seen[-1] == [before]
                assert before in (["CLAIM"], ["CLAIM", "TOUCH"])  # its time to live begins again once a second
                assert after == (["ENTRY", "APPEND"] if record else ["APPEND"])
                assert beside == ["RELEASE"]


async def test_a_record_costs_one_round_trip_before_and_one_after(redis_url: str, redis_server: Server) -> None:
    """A tool without state needs no claim: it is only seen whose session it is."""
    async with Proxy(redis_server.port) as proxy:
        sessions = DurableSessions(proxy.url, record=True)
        server = server_with(sessions)

        @server.tool()
        async def say(session_id: str, words: str) -> str:
            return words

        async with visiting(server, sessions) as shop:
            session_id = await shop.begin()
            await shop.call("say", session_id=session_id, words="first")
            start = len(proxy.requests)
            await shop.call("say", session_id=session_id, words="second")
            before, after = round_trips(proxy, start)
            assert before in ([], ["TOUCH"])
            assert after == ["ENTRY", "APPEND"]
