"""`DurableSessions`: what a server's author puts into the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, ToolBinding
from mcp.types import CallToolRequestParams

from ...manager import SessionManager
from ...stores.owned import acting_as
from ..redis_manager import RedisSessionManager
from .calls import ToolCalls
from .handle_tools import HandleTools, Names
from .middleware import SessionMiddleware
from .principal import principal
from .problems import Advice
from .recording import LARGEST, Recorder


class DurableSessions(Extension):
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
        mask: names of arguments whose values are never recorded, at any depth, beside what is masked of all that
            is stored.
        prefix: what the names of the handle tools begin with.
        names: other names for them: ``{"create_session": "open_cart"}``.
        manager: a session manager of yours, instead of ``url`` and ``ttl_seconds``; you close it.

    Nothing is opened before the first call. To close it in order, pass `lifespan` to the server.

    Raises:
        ConfigError: a setting cannot be used, or a tool is renamed that there is none of; says which.
        MissingExtra: a Redis is named and its client library is not installed.
    """

    identifier = "agentic-flywheel/durable-sessions"

    def __init__(
        self,
        url: str | None = None,
        *,
        ttl_seconds: int | None = None,
        record: bool = False,
        mask: Collection[str] = (),
        prefix: str = "",
        names: Mapping[str, str] | None = None,
        manager: SessionManager | None = None,
    ) -> None:
        self._owned = None if manager else RedisSessionManager(url=url, ttl_seconds=ttl_seconds)
        self.manager: SessionManager = manager or self._owned  # type: ignore[assignment]  # one of them is there
        called = Names.of(names or {}, prefix)
        advice = Advice(create=called.create_session, listing=called.list_sessions)
        recorder = (
            Recorder(self.manager.mask.also(mask), min(LARGEST, self.manager.limits.turn_bytes // 4))
            if record
            else None
        )
        self._calls = ToolCalls(self.manager, advice, recorder)
        self._tools = HandleTools(self.manager, called, advice).all()
        self._names = frozenset(called)

    async def __aenter__(self) -> Self:
        await self.manager.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what is still to be saved, and close files and connections; it may be used again."""
        await self._calls.close()
        if self._owned is not None:
            await self._owned.close()

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
            for tool in self._tools
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """What the server that has this as an extension calls around each tool call."""
        with acting_as(principal()):
            if params.name in self._names:
                return await call_next(ctx)
            return await self._calls.around(params.name, params.arguments or {}, lambda: call_next(ctx))

    @property
    def middleware(self) -> SessionMiddleware:
        """The same for a server that takes no extensions: ``server.middleware.append(sessions.middleware)``.

        State is to be had by `State` in an `MCPServer`, and by `get_state` in a handler of the low-level server.
        """
        return SessionMiddleware(self._calls, self._tools)
