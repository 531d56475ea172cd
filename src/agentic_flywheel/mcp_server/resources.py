"""Sessions as resources: ``flywheel://session/{session_id}``."""

from __future__ import annotations

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import ResourceSecurity

from ..flywheel import Flywheel
from ..jsontext import encode, sendable
from ..session import UniversalSession
from ..session.values import plain
from .models import count_turns
from .problems import as_resource_errors

SESSION_URI = "flywheel://session/{session_id}"
SHOWN_TURNS = 50


class Resources:
    """What clients can read without calling a tool."""

    def __init__(self, flywheel: Flywheel) -> None:
        self._sessions = flywheel.sessions

    def register(self, server: MCPServer[Any]) -> None:
        """Add the resources to a server."""
        server.resource(
            SESSION_URI,
            name="session",
            title="A session",
            description=f"A session as a JSON document: everything but its history, and the newest {SHOWN_TURNS} "
            "turns of that. 'shown' says which ones and how many there are. Percent-encode the id.",
            mime_type="application/json",
            # A session id names no file; session ids are checked by their own rule.
            security=ResourceSecurity(exempt_params={"session_id"}),
        )(self.session)

    async def session(self, session_id: str) -> str:
        """The document of a session, as JSON text."""
        with as_resource_errors():
            return shown_document(await self._sessions.require(session_id, last=SHOWN_TURNS))


def shown_document(session: UniversalSession) -> str:
    """A session with the turns that were loaded; its field ``shown`` says which those are."""
    total, older = count_turns(session), session.history.older
    note = f"the newest {total - older} of {total} turns" if older else f"all {total} turns"
    shown = {"turns": total, "first": older + 1 if total > older else None, "note": note}
    turns = [plain(dict(turn), "history") for turn in session.history]
    return encode(sendable(session.head() | {"history": turns, "shown": shown})).decode()
