"""Calls that do not run straight through: a Redis that goes away, and a tool that asks its user first."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from mcp import Client
from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import ElicitRequestParams, ElicitResult
from pydantic import BaseModel

from agentic_flywheel.integrations import RedisSessionManager
from agentic_flywheel.integrations.mcp import DurableSessions, State
from tests.integrations.mcp.carts import Cart, add_tools
from tests.integrations.mcp.conftest import Shop, server_with, visiting
from tests.support.servers import Server


async def test_state_goes_on_while_redis_is_away(own_server: Server, tmp_path: Path) -> None:
    """What this machine knows is gone on from; Redis has it when it is back. A session unknown here has to wait."""
    (tmp_path / "flywheel.toml").write_text("", "utf-8")  # the usual budget: nobody waits long for a dead server
    sessions = DurableSessions(own_server.url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        assert await shop.call("add", session_id=session_id, item="tea") == ["tea"]
        own_server.kill()
        assert await shop.call("add", session_id=session_id, item="cup") == ["tea", "cup"]
        assert await shop.call("look", session_id=session_id) == ["tea", "cup"]
        text = await shop.refused("look", session_id="session_of_another_machine")
        assert text.endswith("Try again in a moment.")
        own_server.restart()
        async with asyncio.timeout(30):
            while (await sessions.manager.health()).state != "ok":  # noqa: ASYNC110  # what people look at, too
                await asyncio.sleep(0.01)
    async with RedisSessionManager(url=own_server.url, state_dir=tmp_path / "another machine") as elsewhere:
        session = await elsewhere.require(session_id)
    assert session.context["state:Cart"]["items"] == ["tea", "cup"]
    assert [turn.flow_id for turn in session.history] == ["add", "add", "look"]


class Consent(BaseModel):
    """What a user answers."""

    yes: bool


async def ask() -> Elicit[Consent]:
    return Elicit("Really?", Consent)


async def test_a_tool_that_asks_first_runs_and_is_recorded_once(url: str, mode: str) -> None:
    """On the modern protocol the question is a result of its own; it is no turn, and holds nobody up meanwhile."""
    sessions = DurableSessions(url, record=True)
    add_tools(server := server_with(sessions))
    asked: list[Any] = []

    @server.tool()
    async def buy(session_id: str, cart: State[Cart], consent: Annotated[Consent, Resolve(ask)]) -> list[str]:
        cart.items.append(f"bought {consent.yes}")
        return cart.items

    async def answer(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"yes": True})

    async with Client(server, mode=mode, elicitation_callback=answer) as client:
        shop = Shop(server, sessions, client)
        session_id = await shop.begin()
        for _ in range(2):
            await shop.call("buy", session_id=session_id)
        assert await shop.call("look", session_id=session_id) == ["bought True", "bought True"]
        turns = (await sessions.manager.require(session_id)).history
    assert [turn.flow_id for turn in turns] == ["buy", "buy", "look"]
    assert asked == ["Really?", "Really?"]
