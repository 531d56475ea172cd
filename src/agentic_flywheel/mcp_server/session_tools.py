"""The tools that begin, resume, list, change and end sessions."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.types import CallToolResult, TextContent
from pydantic import Field

from ..errors import BadInput, SessionNotFound
from ..flywheel import Flywheel
from ..flywheel.packet import LAST, TOKENS
from ..integrations.tool_sessions.retention import retention
from ..jsontext import sendable
from ..manager import SessionManager
from ..session import UniversalSession, now
from ..session.values import plain, rich
from .arguments import FlowId, Handle, LastTurns, Tokens, Values, add_tool
from .models import (
    ContextUpdated,
    SaveState,
    SessionCreated,
    SessionDeleted,
    SessionForked,
    SessionLine,
    SessionList,
    SessionView,
    count_turns,
)
from .problems import as_tool_errors, insist

MORE = (
    "resume_session with more tokens; get_execution with the id that stands with a turn; the resource "
    "flywheel://session/SESSION_ID"
)
"""Where the rest of a packet is."""


class SessionTools:
    """Tools for sessions; their docstrings are the descriptions that models read."""

    def __init__(self, flywheel: Flywheel) -> None:
        self._flywheel = flywheel
        self._sessions = flywheel.sessions

    def register(self, server: MCPServer[Any]) -> None:
        """Add the tools to a server."""
        add_tool(server, self.create_session, description=_creation(self._sessions))
        add_tool(server, self.resume_session, reads=True)
        add_tool(server, self.list_sessions, reads=True)
        add_tool(server, self.update_context)
        add_tool(server, self.fork_session)
        add_tool(server, self.delete_session, destroys=True)

    async def create_session(
        self,
        title: Annotated[str | None, Field(description="what people call it in a listing")] = None,
        context: Annotated[Values | None, Field(description="what the conversation knows from the start")] = None,
        flow_id: Annotated[FlowId | None, Field(description="the flow that its questions go to")] = None,
        ttl_seconds: Annotated[
            int | None,
            Field(ge=0, description="how long to keep it after its last use, if not as usual; 0: for ever"),
        ] = None,
    ) -> SessionCreated:
        """Begin a session; described by `_creation`."""
        with as_tool_errors():
            flow = self._flywheel.flows.choose(flow_id, None)
            session = UniversalSession(
                backend=flow.backend,
                current_flow_id=flow.id if flow_id else None,
                context=rich(context or {}),
            )
            if title:
                session.metadata["title"] = title
            session.ttl_seconds = ttl_seconds
            saved = insist(await self._sessions.save_session(session))
            kept = self._sessions.ttl.session if ttl_seconds is None else ttl_seconds
            return SessionCreated(session_id=session.id, kept_seconds=kept, saved=SaveState.of(saved))

    async def resume_session(
        self, session_id: Handle | None = None, last: LastTurns = LAST, tokens: Tokens = TOKENS
    ) -> Annotated[CallToolResult, SessionView]:
        """Go on with a conversation: what it knows, its newest turns, and a question that was never answered.

        Without a session_id it takes the session that was used last. Call this first whenever the user refers
        to an earlier conversation.
        """
        with as_tool_errors():
            packet = await self._flywheel.packet(session_id, tokens=tokens, last=last, more=MORE)
            text = TextContent(type="text", text=packet.to_text())
            return CallToolResult(content=[text], structured_content=packet.to_dict())

    async def list_sessions(
        self, limit: Annotated[int, Field(ge=1, le=200, description="how many at most")] = 20
    ) -> SessionList:
        """List the sessions that there are, the one used last first, with their titles and numbers of turns."""
        with as_tool_errors():
            summaries = await self._sessions.list_sessions(limit)
            return SessionList(sessions=[SessionLine.of(summary) for summary in summaries])

    async def update_context(
        self,
        session_id: Handle,
        set: Annotated[Values | None, Field(description="keys to set, with their new values")] = None,
        remove: Annotated[list[str] | None, Field(description="keys to remove")] = None,
    ) -> ContextUpdated:
        """Change what a session knows: set keys, remove keys; other keys stay as they are.

        Use it for facts and decisions that must outlive this conversation's window.
        """
        with as_tool_errors():
            if not set and not remove:
                raise BadInput("nothing to change: give keys to set, or keys to remove")
            session = await self._sessions.require(session_id, last=0)
            for key in remove or ():
                session.context.pop(key, None)
            session.context.update(rich(set or {}))
            session.metadata["last_active"] = now()
            saved = insist(await self._sessions.save_session(session))
            context = sendable(plain(session.context, "context"))
            return ContextUpdated(session_id=session_id, context=context, saved=SaveState.of(saved))

    async def fork_session(
        self,
        session_id: Handle,
        last: Annotated[
            int | None, Field(ge=0, description="take along only that many of its newest turns")
        ] = None,
    ) -> SessionForked:
        """Begin a new session that goes on from another one, with its context and turns; the other one stays.

        Use it to try something without changing the original, or where a session has become too long.
        """
        with as_tool_errors():
            fork = await self._sessions.fork_session(session_id, last=last)
            return SessionForked(session_id=fork.id, forked_from=session_id, turns=count_turns(fork))

    async def delete_session(self, session_id: Handle) -> SessionDeleted:
        """Delete a session for good. It cannot be brought back: ask the user first."""
        with as_tool_errors():
            if not await self._sessions.delete_session(session_id):
                raise SessionNotFound(f"no session {session_id!r}: it was deleted before, has expired or never was")
            return SessionDeleted(session_id=session_id)


def _creation(sessions: SessionManager) -> str:
    return (
        "Begin a new session and return its handle, session_id. Pass it to every later call of this "
        "conversation, and keep it: with it the conversation can be resumed after a restart of the client, of "
        f"this server or of the machine. {retention(sessions)}"
    )
