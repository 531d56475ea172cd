"""Sessions of one user are nothing to another: over HTTP, with FastMCP's own token check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.sessions import UserSession

from agentic_flywheel.integrations.fastmcp import DurableSessions, SessionStateStore
from agentic_flywheel.integrations.fastmcp.state_store import OWNER as ENTRIES
from agentic_flywheel.manager.owners import OWNER
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.owned import acting_as
from tests.integrations.fastmcp.carts import add_tools
from tests.integrations.fastmcp.conftest import Shop
from tests.support.servers import HOST, free_port

ISSUER = "https://issuer.example"
NOBODY = "session_" + 32 * "0"


class Tokens(TokenVerifier):
    """Tokens that say whose they are: ``SUBJECT at ISSUER``, or a client's without a subject."""

    async def verify_token(self, token: str) -> AccessToken | None:
        subject, _, issuer = token.partition("@")
        claims = {"iss": issuer} if issuer else {}
        return AccessToken(token=token, client_id="c", scopes=[], subject=subject or None, claims=claims)


@asynccontextmanager
async def serving(sessions: DurableSessions) -> AsyncIterator[str]:
    """The address of a server that wants a token, and has both kinds of state."""
    server: FastMCP[Any] = FastMCP(
        "shop",
        auth=Tokens(),
        middleware=[sessions],
        providers=[sessions],
        session_state_store=SessionStateStore(manager=sessions.manager),
    )
    add_tools(server)

    @server.tool
    async def note(text: str, session: UserSession) -> list[str]:
        notes = [*await session.get("notes", []), text]
        await session.set("notes", notes)
        return notes

    port = free_port()
    config = uvicorn.Config(server.http_app(), host=HOST, port=port, log_level="critical", ws="none")
    runner = uvicorn.Server(config)
    task = asyncio.create_task(runner.serve())
    while not runner.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield f"http://{HOST}:{port}/mcp"
    finally:
        runner.should_exit = True
        await task


@asynccontextmanager
async def visitor(address: str, token: str, mode: str) -> AsyncIterator[Shop]:
    """A client with a token of its own."""
    transport = StreamableHttpTransport(address, headers={"Authorization": f"Bearer {token}"})
    async with Client(transport, mode=mode) as client:
        yield Shop(client)


@pytest.mark.parametrize(
    "other", ["mallory@https://issuer.example", "alice@https://another.example", "alice", "@https://issuer.example"]
)
async def test_a_foreign_session_is_an_unknown_one(url: str, mode: str, other: str) -> None:
    """Another subject, the same one of another issuer or of none, a client without a subject: on every tool."""
    sessions = DurableSessions(url, record=True)
    async with (
        serving(sessions) as address,
        visitor(address, f"alice@{ISSUER}", mode) as alice,
        visitor(address, other, mode) as mallory,
    ):
        session_id = await alice.begin(title="alice's")
        for _ in range(2):  # the second time it is known which tools have state
            await alice.call("add", session_id=session_id, item="tea")
            for tool, more in [
                ("add", {"item": "stolen"}),
                ("look", {}),
                ("say", {"words": "hi"}),
                ("resume_session", {}),
                ("end_session", {}),
            ]:
                foreign = await mallory.refused(tool, session_id=session_id, **more)
                nobody = await mallory.refused(tool, session_id=NOBODY, **more)
                assert foreign.replace(session_id, NOBODY) == nobody
        assert (await mallory.call("list_sessions"))["sessions"] == []
        assert [each["session_id"] for each in (await alice.call("list_sessions"))["sessions"]] == [session_id]
        assert await alice.call("look", session_id=session_id) == ["tea", "tea"]
        with acting_as(principal_of(ISSUER, "alice")):
            session = await sessions.manager.require(session_id)
        assert [turn.flow_id for turn in session.history] == ["add", "add", "look"]
        assert session.metadata[OWNER] == principal_of(ISSUER, "alice")


async def test_a_user_s_own_state_is_theirs(url: str, mode: str) -> None:
    """FastMCP's ``UserSession`` on our store: by the user; it is no session that a handle tool knows."""
    sessions = DurableSessions(url)
    async with serving(sessions) as address:
        for expected in (["tea"], ["tea", "tea"]):
            async with visitor(address, f"alice@{ISSUER}", mode) as alice:
                assert await alice.call("note", text="tea") == expected
                assert (await alice.call("list_sessions"))["sessions"] == []
        async with visitor(address, f"mallory@{ISSUER}", mode) as mallory:
            assert await mallory.call("note", text="cup") == ["cup"]
        with acting_as(ENTRIES):
            (one, other) = await sessions.manager.list_sessions()
        async with visitor(address, f"mallory@{ISSUER}", mode) as mallory:
            for entry in (one, other):
                for tool in ("resume_session", "end_session"):
                    assert "no session" in await mallory.refused(tool, session_id=entry.id)
    with acting_as(ENTRIES):
        assert "alice" not in (await sessions.manager.require(other.id)).to_json()


async def test_without_authentication_entries_are_no_sessions_either(sqlite_url: str) -> None:
    """Who knows the name of an entry gets nowhere with it."""
    sessions = DurableSessions(sqlite_url)
    store = SessionStateStore(manager=sessions.manager)
    await store.put("key", {"value": "a secret"})
    with acting_as(ENTRIES):
        (entry,) = await sessions.manager.list_sessions()
    server: FastMCP[Any] = FastMCP("shop", middleware=[sessions], providers=[sessions])
    add_tools(server)
    async with Client(server) as client:
        shop = Shop(client)
        assert (await shop.call("list_sessions"))["sessions"] == []
        for tool in ("resume_session", "end_session", "look"):
            assert "no session" in await shop.refused(tool, session_id=entry.id)
    assert await store.get("key") == {"value": "a secret"}
