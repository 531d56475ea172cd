"""`DurableSessions`: what a server's author puts into the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, ToolBinding
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolRequestParams

from ..tool_sessions.sessions import ToolSessions
from .middleware import SessionMiddleware
from .sdk import SDK, refusal


class DurableSessions(ToolSessions, Extension):
    """Sessions for an MCP server that outlive it: tools for their handles, typed state, and a record of calls.

    ::

        server = MCPServer("shop", extensions=[DurableSessions()])

    A server that takes no extensions, the low-level one included, has the same as `middleware`.

    Every call of a tool with a ``session_id`` argument is checked: the session has to be there and to be the
    caller's (by the issuer and subject of the access token, where there is one). A foreign one is answered like an
    unknown one.

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

    Nothing is opened before the first call. To close it in order, pass `lifespan` to the server, or enter
    ``async with sessions:`` in one of your own. ``manager`` is the session manager in use, for code of yours.

    Raises:
        ConfigError: a setting cannot be used, or a tool is renamed that there is none of; says which.
        MissingExtra: a Redis is named and its client library is not installed.
    """

    identifier = "agentic-flywheel/durable-sessions"
    framework = SDK

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[Self]:
        """For a server's ``lifespan``: connects when it starts, and closes when it stops."""
        async with self:
            yield self

    def tools(self) -> Sequence[ToolBinding]:
        """The handle tools, for the server that has this as an extension."""
        return [
            ToolBinding(
                tool.function,
                kwargs={"name": tool.name, "description": tool.description, "annotations": tool.annotations},
            )
            for tool in self._handle_tools
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """What the server that has this as an extension calls around each tool call."""
        if params.name in self._names:
            return await call_next(ctx)
        try:
            return await self._calls.around(params.name, params.arguments or {}, lambda: call_next(ctx))
        except ToolError as error:
            return refusal(str(error))

    @property
    def middleware(self) -> SessionMiddleware:
        """The same for a server that takes no extensions: ``server.middleware.append(sessions.middleware)``.

        State is to be had by `State` in an `MCPServer`, and by `get_state` in a handler of the low-level server.
        """
        return SessionMiddleware(self._calls, self._handle_tools)
