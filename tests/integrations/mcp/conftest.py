"""Servers with durable sessions in this process, for clients of both protocol eras, on SQLite and on Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from mcp import Client
from mcp.server import MCPServer

from agentic_flywheel.integrations.mcp import DurableSessions


@pytest.fixture(autouse=True)
def patiently(patient: None) -> None:
    """All of these tests are."""


class Shop:
    """A server with durable sessions, and a client of it."""

    def __init__(self, server: MCPServer[Any], sessions: DurableSessions, client: Client) -> None:
        self.server = server
        self.sessions = sessions
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The structured result of a tool that succeeds."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        value = result.structured_content
        return value["result"] if isinstance(value, dict) and set(value) == {"result"} else value

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The text of a tool that fails."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result.structured_content
        (content,) = result.content
        return str(getattr(content, "text", ""))

    async def begin(self, **arguments: Any) -> str:
        """The handle of a new session."""
        return cast(str, (await self.call("create_session", **arguments))["session_id"])

    async def context(self, session_id: str) -> dict[str, Any]:
        """What is stored of a session's context."""
        return (await self.sessions.manager.require(session_id)).context


def server_with(sessions: DurableSessions) -> MCPServer[Any]:
    """A server that is quiet about what its tools do."""
    return MCPServer("shop", extensions=[sessions], lifespan=sessions.lifespan, log_level="CRITICAL")


@asynccontextmanager
async def visiting(server: MCPServer[Any], sessions: DurableSessions, mode: str = "auto") -> AsyncIterator[Shop]:
    """A client of a server."""
    async with Client(server, mode=mode) as client:
        yield Shop(server, sessions, client)
