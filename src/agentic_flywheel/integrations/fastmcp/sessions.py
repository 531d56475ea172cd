"""`DurableSessions`: what a server's author puts into the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.server.providers import Provider
from fastmcp.tools.base import Tool, ToolResult
from mcp.types import CallToolRequestParams

from ..tool_sessions.sessions import ToolSessions
from .library import FASTMCP


class DurableSessions(ToolSessions, Provider, Middleware):
    """Sessions for a FastMCP server that outlive it: tools for their handles, typed state, and a record of calls.

    ::

        sessions = DurableSessions()
        server = FastMCP("shop", middleware=[sessions], providers=[sessions])

    As a provider it brings the handle tools, and opens and closes the store with the server; as a middleware it
    stands around all tool calls. It has to be both.

    Every call of a tool with a ``session_id`` argument is checked: the session has to be there and to be the
    caller's (by the issuer and subject of the access token, where there is one). A foreign one is answered like an
    unknown one. FastMCP's own ``SessionProvider`` gives out handles of its own, which are unknown here: a server
    has one or the other.

    Args:
        url: where sessions are kept, as for `RedisSessionManager`; if not given, as the settings say, else in an
            embedded SQLite file.
        ttl_seconds: how long a session is kept after its last use; 0 keeps it for ever. Default: the settings',
            7 days.
        record: record each call of a tool with a ``session_id``, failed ones too, as a turn of its session and as
            an execution.
        mask: names of arguments whose values are never recorded, at any depth, beside those that look like
            credentials (``password``, ``api_key``, ``token``).
        prefix: what the names of the handle tools begin with.
        names: other names for them: ``{"create_session": "open_cart"}``.
        manager: a session manager of yours, instead of ``url`` and ``ttl_seconds``; you close it.

    Nothing is opened before the first call. ``manager`` is the session manager in use, for code of yours.

    Raises:
        ConfigError: a setting cannot be used, or a tool is renamed that there is none of; says which.
        MissingExtra: a Redis is named and its client library is not installed.
    """

    framework = FASTMCP

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """What the server that has this as a provider runs in: connects first, and closes last."""
        async with self:
            yield

    async def _list_tools(self) -> Sequence[Tool]:
        return [
            Tool.from_function(
                tool.function, name=tool.name, description=tool.description, annotations=tool.annotations
            )
            for tool in self._handle_tools
        ]

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """What the server that has this as a middleware calls around each tool call."""
        params = context.message
        if params.name in self._names:
            return await call_next(context)
        return await self._calls.around(params.name, params.arguments or {}, lambda: call_next(context))
