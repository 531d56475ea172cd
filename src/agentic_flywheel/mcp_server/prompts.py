"""The prompt with which a person goes on where a conversation was."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server import MCPServer
from pydantic import Field

from ..flywheel import Flywheel
from .problems import as_protocol_errors
from .session_tools import MORE


class Prompts:
    """What people can pick from their client's menu."""

    def __init__(self, flywheel: Flywheel) -> None:
        self._flywheel = flywheel

    def register(self, server: MCPServer[Any]) -> None:
        """Add the prompts to a server."""
        server.prompt(
            "continue",
            title="Continue where we left off",
            description="Go on with an earlier conversation: its context and its last turns. Without a "
            "session_id, with the one that was used last.",
        )(self.go_on)

    async def go_on(
        self, session_id: Annotated[str | None, Field(description="the session's handle")] = None
    ) -> str:
        """The conversation so far, for a model to go on with."""
        with as_protocol_errors():
            packet = await self._flywheel.packet(session_id or None, forms=["text"], more=MORE)
            return packet.to_text()
