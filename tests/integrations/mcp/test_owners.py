"""Sessions of one user are nothing to another: over HTTP, with the SDK's own token check."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from agentic_flywheel import UniversalSession
from agentic_flywheel.integrations.mcp import DurableSessions
from agentic_flywheel.manager.owners import OWNER
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.names import name_of
from agentic_flywheel.stores.owned import acting_as
from tests.integrations.mcp.carts import add_tools
from tests.integrations.mcp.conftest import Shop
from tests.support.servers import HOST, free_port

ISSUER = "https://issuer.example"


class Tokens:
    """Tokens that say whose they are: ``SUBJECT at ISSUER``, or a client's without a subject."""

    async def verify_token(self, token: str) -> AccessToken | None:
        subject, _, issuer = token.partition("@")
        claims = {"iss": issuer} if issuer else None
        return AccessToken(token=token, client_id="c", scopes=[], subject=subject or None, claims=claims)


@asynccontextmanager
async def serving(sessions: DurableSessions) -> AsyncIterator[tuple[MCPServer[Any], str]]:
    """A server on a loopback port that wants a token."""
    port = free_port()
    resource = AnyHttpUrl(f"http://{HOST}:{port}/mcp")
    server: MCPServer[Any] = MCPServer(
        "shop",
        extensions=[sessions],
        lifespan=sessions.lifespan,
        log_level="CRITICAL",
        token_verifier=Tokens(),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(ISSUER), resource_server_url=resource, validate_token_resource=False
        ),
    )
    add_tools(server)
    app = server.streamable_http_app(host=HOST)
    runner = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="critical", ws="none"))
    task = asyncio.create_task(runner.serve())
    while not runner.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield server, str(resource)
    finally:
        runner.should_exit = True
        await task


@asynccontextmanager
async def visitor(
    server: MCPServer[Any], sessions: DurableSessions, url: str, token: str, mode: str
) -> AsyncIterator[Shop]:
    """A client with a token of its own."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield Shop(server, sessions, client)


@pytest.mark.parametrize(
    "other", ["mallory@https://issuer.example", "alice@https://another.example", "alice", "@https://issuer.example"]
)
async def test_a_foreign_session_is_an_unknown_one(url: str, mode: str, other: str) -> None:
    """Another subject, the same one of another issuer or of none, a client without a subject: on every tool."""
    sessions = DurableSessions(url, record=True)
    async with (
        serving(sessions) as (server, address),
        visitor(server, sessions, address, f"alice@{ISSUER}", mode) as alice,
        visitor(server, sessions, address, other, mode) as mallory,
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
                nobody = await mallory.refused(tool, session_id="session_" + 32 * "0", **more)
                assert foreign.replace(session_id, "session_" + 32 * "0") == nobody
        assert (await mallory.call("list_sessions"))["sessions"] == []
        assert [each["session_id"] for each in (await alice.call("list_sessions"))["sessions"]] == [session_id]
        assert await alice.call("look", session_id=session_id) == ["tea", "tea"]
        with acting_as(principal_of(ISSUER, "alice")):
            turns = (await sessions.manager.require(session_id)).history
        assert [turn.flow_id for turn in turns] == ["add", "add", "look"]


async def test_a_damaged_session_is_an_unknown_one_to_others(sqlite_url: str) -> None:
    """Its owner is told what is wrong with it."""
    sessions = DurableSessions(sqlite_url)
    async with (
        serving(sessions) as (server, address),
        visitor(server, sessions, address, f"alice@{ISSUER}", "auto") as alice,
        visitor(server, sessions, address, f"mallory@{ISSUER}", "auto") as mallory,
    ):
        session_id = await alice.begin()
        await spoil(sessions, name_of(principal_of(ISSUER, "alice"), session_id))
        assert "is newer than this version" in await alice.refused("look", session_id=session_id)
        assert "no session" in await mallory.refused("look", session_id=session_id)


async def test_a_session_begun_without_a_token_is_nobody_s_with_one(sqlite_url: str) -> None:
    """And the other way round: an owner is not taken over by leaving the token away."""
    sessions = DurableSessions(sqlite_url)
    async with serving(sessions) as (server, address):
        begun = UniversalSession(backend="mcp")
        await sessions.manager.save_session(begun)
        async with visitor(server, sessions, address, f"alice@{ISSUER}", "auto") as alice:
            assert "no session" in await alice.refused("look", session_id=begun.id)
            owned = await alice.begin()
        async with Client(server) as client:
            assert (await client.call_tool("look", {"session_id": owned})).is_error


async def test_the_owner_is_stored_as_a_hash(sqlite_url: str) -> None:
    """Who has a copy of the store does not learn names from it."""
    sessions = DurableSessions(sqlite_url)
    async with (
        serving(sessions) as (server, address),
        visitor(server, sessions, address, f"alice@{ISSUER}", "auto") as alice,
    ):
        with acting_as(principal_of(ISSUER, "alice")):
            session = await sessions.manager.require(await alice.begin())
        assert session.metadata[OWNER] == principal_of(ISSUER, "alice")
        assert "alice" not in session.to_json()
        assert "issuer" not in session.to_json()


async def spoil(sessions: DurableSessions, session_id: str) -> None:
    """Make a stored session one of a schema that nobody knows."""
    with closing(sqlite3.connect(sessions.manager.store.where)) as db, db:
        done = db.execute(
            "UPDATE heads SET head = CAST(replace(CAST(head AS TEXT), '\"schema\":1', '\"schema\":99') AS BLOB) "
            "WHERE session = (SELECT key FROM sessions WHERE id = ?)",
            (session_id,),
        )
        assert done.rowcount == 1
