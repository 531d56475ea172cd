"""The tools by which the owner of a session gives it to others, to read or for good."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components
from pydantic import Field

from ..flywheel import Flywheel
from ..manager import hand_over, share
from ..session.principal import principal_of
from .arguments import Handle, add_tool
from .models import SessionHandedOver, SessionShared
from .problems import as_tool_errors

Subject = Annotated[
    str, Field(description="the other user, by the name (subject) that their tokens have", min_length=1)
]


class OwnerTools:
    """Tools for servers whose callers say who they are; their docstrings are the descriptions that models read."""

    def __init__(self, flywheel: Flywheel) -> None:
        self._sessions = flywheel.sessions

    def register(self, server: MCPServer[Any]) -> None:
        """Add the tools to a server."""
        add_tool(server, self.share_session)
        add_tool(server, self.hand_over_session, destroys=True)

    async def share_session(
        self,
        session_id: Handle,
        subject: Subject,
        allowed: Annotated[bool, Field(description="false takes it back")] = True,
    ) -> SessionShared:
        """Let another user of this server read a session of yours, with the same session_id. Ask the user first.

        They can resume and fork it, and not change it.
        """
        with as_tool_errors():
            await share(self._sessions, session_id, _principal_of(subject), allowed=allowed)
            return SessionShared(session_id=session_id, subject=subject, may_read=allowed)

    async def hand_over_session(self, session_id: Handle, subject: Subject) -> SessionHandedOver:
        """Give a session of yours to another user of this server for good. Ask the user first.

        Whoever has no account under this name cannot be told from one who has: check the spelling.
        """
        with as_tool_errors():
            await hand_over(self._sessions, session_id, _principal_of(subject))
            return SessionHandedOver(session_id=session_id, subject=subject)


def _principal_of(subject: str) -> str:
    """The principal that the caller's issuer vouches for under this name."""
    token = get_access_token()
    _, issuer, _ = principal_components(token) if token is not None else (None, None, None)
    return principal_of(issuer, subject)
