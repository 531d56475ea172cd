"""FastMCP servers with durable sessions in this process, and their clients."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from fastmcp import Client, FastMCP

from agentic_flywheel.integrations.fastmcp import DurableSessions


@pytest.fixture(autouse=True)
def patiently(patient: None) -> None:
    """All of these tests are."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """FastMCP says less about what its tools do."""
    log = logging.getLogger("fastmcp")
    before = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(before)


class Shop:
    """A client of a server."""

    def __init__(self, client: Client[Any]) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The structured result of a tool that succeeds."""
        value = (await self.client.call_tool(tool, arguments)).structured_content
        return value["result"] if isinstance(value, dict) and set(value) == {"result"} else value

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The text of a tool that fails."""
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert result.is_error, result.structured_content
        (content,) = result.content
        return str(getattr(content, "text", ""))

    async def begin(self, **arguments: Any) -> str:
        """The handle of a new session."""
        return cast(str, (await self.call("create_session", **arguments))["session_id"])


def server_with(sessions: DurableSessions, **more: Any) -> FastMCP[Any]:
    """A server whose sessions are these."""
    return FastMCP("shop", middleware=[sessions], providers=[sessions], **more)


@asynccontextmanager
async def visiting(server: FastMCP[Any], mode: str = "auto") -> AsyncIterator[Shop]:
    """A client of a server."""
    async with Client(server, mode=mode) as client:
        yield Shop(client)
