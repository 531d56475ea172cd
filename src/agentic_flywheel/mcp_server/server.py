"""The server as a whole: what it is made of, and serving it over stdio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.server import MCPServer, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult

from .. import __version__
from ..config import Settings
from ..flywheel import Flywheel
from ..integrations.mcp.sdk import SDK
from ..stores.owned import acting_as
from .flow_tools import FlowTools
from .logs import log_to_stderr
from .owner_tools import OwnerTools
from .prompts import Prompts
from .resources import Resources
from .session_tools import SessionTools

if TYPE_CHECKING:
    from .bearer import Guard

INSTRUCTIONS = """\
Conversations that survive a restart. A session is named by its session_id, the handle: create_session or
run_flow gives you one; pass it to every later call of the same conversation, and keep it. To go on with an
earlier conversation call resume_session (without a session_id it takes the one used last). run_flow records
its turn by itself; after an answer of your own call record_turn."""


def build_server(flywheel: Flywheel, guard: Guard | None = None) -> MCPServer[Flywheel]:
    """An MCP server with the tools, resources and prompts of a flywheel.

    It owns the flywheel: that is opened when the server starts and closed when it stops. Over HTTP, ``guard`` says
    who may call.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[Flywheel]) -> AsyncIterator[Flywheel]:
        async with flywheel:
            yield flywheel

    server = MCPServer(
        "agentic-flywheel",
        title="Agentic Flywheel",
        instructions=INSTRUCTIONS,
        version=__version__,
        lifespan=lifespan,
        token_verifier=guard.verifier if guard else None,
        auth=guard.settings if guard else None,
        log_level="WARNING",  # at INFO the SDK logs what a failing tool told its client
    )
    server.middleware.append(_for_the_caller)
    for part in (SessionTools(flywheel), FlowTools(flywheel), Resources(flywheel), Prompts(flywheel)):
        part.register(server)
    if guard is not None:  # without, sessions are nobody's
        OwnerTools(flywheel).register(server)
    return server


async def _for_the_caller(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Serve each request for whoever makes it: they see their own sessions only."""
    with acting_as(SDK.principal()):
        return await call_next(ctx)


def serve_stdio(settings: Settings) -> None:
    """Serve over stdin and stdout until the client closes them. Logs go to stderr.

    Raises:
        ConfigError, MissingExtra: the settings cannot be used; says why.
    """
    log_to_stderr()
    server = build_server(Flywheel.from_settings(settings))
    asyncio.run(server.run_stdio_async())
