"""Serving over HTTP: the SDK's application, with what guards it and what tells how it is."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response

from ..config import HttpSettings, Settings
from ..errors import ConfigError
from ..flywheel import Flywheel
from .bearer import Guard, guard_of
from .listening import allowed_hosts, allowed_origins, is_loopback, listen, url_of
from .logs import log_to_stderr
from .monitoring import Monitoring
from .server import build_server

PATH = "/mcp"


def build_http_app(flywheel: Flywheel, http: HttpSettings, guard: Guard | None) -> Starlette:
    """The application: MCP at ``/mcp``, for clients of either era, ``/health`` and ``/metrics``.

    No request depends on an earlier one, so any process can answer any of them.

    Raises:
        ConfigError: `allowed_hosts` says when.
    """
    hosts = allowed_hosts(http)
    security = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=allowed_origins(hosts))
    server = build_server(flywheel, guard)
    Monitoring(flywheel.sessions, guard, TransportSecurityMiddleware(security)).register(server)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        max_request_body_size=http.max_body_bytes,
        transport_security=security,
    )
    for middleware in app.user_middleware:
        kind: object = middleware.cls
        if kind is AuthenticationMiddleware:
            middleware.kwargs["on_error"] = _cannot_tell
    return app


def _cannot_tell(connection: HTTPConnection, error: AuthenticationError) -> Response:
    """Not 401: the token may be good, and its owner need not ask for another one."""
    return PlainTextResponse(str(error), 503, headers={"Retry-After": "5"})


def serve_http(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve over HTTP until SIGTERM or Ctrl-C; calls that are running then may finish. Logs go to stderr.

    Args:
        settings: what to serve, and where to listen.
        announce: is told the URL when the server listens.

    Raises:
        ConfigError, MissingExtra: the settings cannot be used; says why. Among others, that it is to listen for
            other machines and to let everybody in.
    """
    log_to_stderr()
    http = settings.http
    guard = guard_of(http)
    if guard is None and not is_loopback(http.host):
        raise ConfigError(
            f"{http.host} can be reached from other machines, and nothing is set that keeps strangers out: set "
            "http.auth.tokens_file ('flywheel users token SUBJECT' makes a token) or http.auth.issuer, or listen "
            "on 127.0.0.1"
        )
    app = build_http_app(Flywheel.from_settings(settings), http, guard)
    with listen(http.host, http.port) as listener:
        signal.signal(signal.SIGTERM, _end)  # what uvicorn hands on to when it has stopped
        announce(url_of(listener))
        asyncio.run(_server(app, http).serve(sockets=[listener]))


def _server(app: Starlette, http: HttpSettings) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,  # as everything else here: to stderr, without a word of content
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=http.stop_seconds,
    )
    return uvicorn.Server(config)


def _end(_: int, __: FrameType | None) -> None:
    """To be told to stop is no failure."""
    sys.exit(0)
