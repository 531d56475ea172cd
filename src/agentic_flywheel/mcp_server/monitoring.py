"""``/health`` and ``/metrics``: how a server is, for load balancers and monitoring."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from mcp.server import MCPServer
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.transport_security import TransportSecurityMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..manager import Health, SessionManager
from .bearer import Guard
from .metrics import CONTENT_TYPE, exposition, families

KNOWN_SECONDS = 1.0  # anybody may ask, and that is not to become work for the store


class Monitoring:
    """The two pages. ``/health`` is for everybody; ``/metrics`` asks for a token where calls do.

    Args:
        sessions: whose health it is.
        guard: what lets callers in; None where nothing does.
        security: which hosts a request may name, where ``/metrics`` is for everybody.
    """

    def __init__(
        self, sessions: SessionManager, guard: Guard | None, security: TransportSecurityMiddleware
    ) -> None:
        self._sessions = sessions
        self._guard = guard
        self._security = security
        self._asking = asyncio.Lock()
        self._known: Health | None = None
        self._asked = 0.0

    def register(self, server: MCPServer[Any]) -> None:
        """Add the pages to a server."""
        server.custom_route("/health", methods=["GET"])(self.health)
        server.custom_route("/metrics", methods=["GET"])(self.metrics)

    async def health(self, request: Request) -> Response:
        """The state, as JSON. It is always 200: also without its store the server takes writes."""
        health = await self._health()
        shown = {"state": health.state, "pending": health.pending, "refused": health.refused}
        return JSONResponse(shown, headers={"Cache-Control": "no-store"})

    async def metrics(self, request: Request) -> Response:
        """The figures, as text for Prometheus."""
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        text = exposition(families(await self._health(), self._sessions.meter))
        return Response(text, media_type=None, headers={"Content-Type": CONTENT_TYPE})

    async def _refusal(self, request: Request) -> Response | None:
        """Why this caller may not see the figures, as an answer; None if it may."""
        if self._guard is None:
            return await self._security.validate_request(request)
        if not isinstance(request.scope.get("user"), AuthenticatedUser):
            return PlainTextResponse("a token is needed", 401, headers={"WWW-Authenticate": "Bearer"})
        if not set(self._guard.scopes) <= set(request.auth.scopes):
            return PlainTextResponse("the token's scopes do not suffice", 403)
        return None

    async def _health(self) -> Health:
        async with self._asking:
            if self._known is None or time.monotonic() - self._asked > KNOWN_SECONDS:
                self._known = await self._sessions.health()
                self._asked = time.monotonic()
            return self._known
