"""The prompt with which a person goes on where a conversation was."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server import MCPServer
from pydantic import Field

from ..flywheel import Flywheel, Resumed
from ..jsontext import encode
from ..session.values import plain
from .models import SessionView, sendable
from .problems import as_protocol_errors
from .session_tools import used_last

TURNS = 10
EXCERPT = 2000  # characters of one question or answer


class Prompts:
    """What people can pick from their client's menu."""

    def __init__(self, flywheel: Flywheel) -> None:
        self._flywheel = flywheel
        self._sessions = flywheel.sessions

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
            found = session_id or await used_last(self._sessions)
            return briefing(await self._flywheel.resume(found, last=TURNS))


def briefing(resumed: Resumed) -> str:
    """A session as the opening of a conversation: what it is, its context, its last turns."""
    view = SessionView.of(resumed)
    called = f" ({view.title})" if view.title else ""
    lines = [
        f"Let us continue where we left off, in session {view.session_id}{called}: begun {view.created_at}, "
        f"last used {view.last_active}, {view.turns} turns so far.",
        f"Pass session_id={view.session_id!r} to every tool call of this conversation.",
        "",
        f"What it knows (its context): {encode(view.context).decode()}",
        "",
    ]
    if view.last_turns:
        lines.append(f"The last {len(view.last_turns)} of {view.turns} turns, oldest first:")
    lines += [_told(turn) for turn in view.last_turns]
    if view.interrupted:
        lines += ["", f"Note: {view.interrupted}."]
    if view.behind:
        lines += ["", "Note: the store is away; turns that others wrote lately may be lacking here."]
    return "\n".join(lines).rstrip()


def _told(turn: dict[str, Any]) -> str:
    if "question" not in turn and "response" not in turn:  # others write turns of another shape
        return _excerpt(turn)
    answered_by = turn.get("flow_id") or "the answer"
    question, response = _excerpt(turn.get("question")), _excerpt(turn.get("response"))
    return f"[{turn.get('timestamp')}] question: {question}\n{answered_by}: {response}"


def _excerpt(value: Any) -> str:
    text = value if isinstance(value, str) else encode(plain(sendable(value), "turn")).decode()
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "… (cut; resume_session gives it whole)"
