"""The tools that begin, resume, list and end sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from inspect import cleandoc
from typing import Annotated, Any, Literal, Self

from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from ...codec import Summary, title_of
from ...errors import ConfigError, FlywheelError, StoreError
from ...jsontext import sendable
from ...manager import SessionManager
from ...session import UniversalSession
from ...session.values import plain
from ...stores.owned import acting_as
from .framework import Framework
from .problems import Advice, unknown
from .retention import retention

BACKEND = "mcp"
"""The backend of the sessions that are begun here."""

Handle = Annotated[str, Field(description="the session's handle")]


@dataclass(frozen=True, slots=True)
class Names:
    """What the tools are called."""

    create_session: str = "create_session"
    resume_session: str = "resume_session"
    list_sessions: str = "list_sessions"
    end_session: str = "end_session"

    @classmethod
    def of(cls, names: Mapping[str, str], prefix: str) -> Self:
        """The names that were asked for, and the usual ones for the rest; with a prefix.

        Raises:
            ConfigError: a tool is named that there is none of.
        """
        usual = {field.name: field.name for field in fields(cls)}
        if unknown_ones := sorted(names.keys() - usual.keys()):
            raise ConfigError(f"there is no tool {unknown_ones[0]!r} to be renamed; there are {', '.join(usual)}")
        return cls(**{tool: prefix + name for tool, name in {**usual, **names}.items()})

    def __iter__(self) -> Iterator[str]:
        return (getattr(self, field.name) for field in fields(self))


class SessionBegun(BaseModel):
    """A new session."""

    session_id: str = Field(description="the handle; pass it to every later call of this conversation")
    kept_seconds: int = Field(description="how long it is kept after its last use; 0: for ever")
    where: str = Field(description="where it is kept")


class SessionFound(BaseModel):
    """A session to go on with."""

    session_id: str
    title: str | None
    created_at: str | None
    last_active: str | None
    turns: int = Field(description="how many calls are on record")
    last_turns: list[dict[str, Any]] = Field(description="the newest of them, oldest first")
    interrupted: str | None = Field(description="a call that was begun and never finished: tell the user")


class SessionLine(BaseModel):
    """A session in a listing."""

    session_id: str
    title: str | None
    turns: int
    created_at: str | None
    last_active: str | None

    @classmethod
    def of(cls, summary: Summary) -> Self:
        """The line of a summary."""
        return cls(
            session_id=summary.id,
            title=sendable(summary.title),
            turns=summary.turns,
            created_at=summary.created_at,
            last_active=summary.last_active,
        )


class SessionList(BaseModel):
    """Sessions, the one used last first."""

    sessions: list[SessionLine]


class SessionEnded(BaseModel):
    """A session that is gone for good."""

    session_id: str
    ended: Literal[True] = True


@dataclass(frozen=True, slots=True)
class HandleTool:
    """A tool as it is to be registered."""

    function: Callable[..., Any]
    name: str
    description: str
    annotations: ToolAnnotations


class HandleTools:
    """The tools; their docstrings are the descriptions that models read."""

    def __init__(self, sessions: SessionManager, framework: Framework, names: Names, advice: Advice) -> None:
        self._sessions = sessions
        self._framework = framework
        self._names = names
        self._advice = advice

    def all(self) -> list[HandleTool]:
        """The tools, under the names that they have on this server."""
        return [
            self._tool(self.create_session, self._names.create_session, description=self._creation()),
            self._tool(self.resume_session, self._names.resume_session, reads=True),
            self._tool(self.list_sessions, self._names.list_sessions, reads=True),
            self._tool(self.end_session, self._names.end_session, destroys=True),
        ]

    def _tool(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        description: str | None = None,
        reads: bool = False,
        destroys: bool = False,
    ) -> HandleTool:
        hints = ToolAnnotations(read_only_hint=reads, destructive_hint=destroys, open_world_hint=False)
        return HandleTool(function, name, description or cleandoc(function.__doc__ or ""), hints)

    def _creation(self) -> str:
        return (
            "Begin a new session and return its handle, session_id. Pass it to every later call of this "
            "conversation, and keep it: with it the conversation can be resumed after a restart of the client, of "
            f"this server or of the machine. {retention(self._sessions)}"
        )

    async def create_session(
        self,
        title: Annotated[str | None, Field(description="what people call it in a listing")] = None,
        ttl_seconds: Annotated[
            int | None,
            Field(ge=0, description="how long to keep it after its last use, if not as usual; 0: for ever"),
        ] = None,
    ) -> SessionBegun:
        """Begin a session; described by `_creation`."""
        with self._for_the_caller():
            session = UniversalSession(backend=BACKEND)
            if title:
                session.metadata["title"] = title
            session.ttl_seconds = ttl_seconds
            saved = await self._sessions.save_session(session)
            if saved.outcome == "refused":
                raise StoreError(f"no session was begun: {saved.reason}")
            kept = self._sessions.ttl.session if ttl_seconds is None else ttl_seconds
            return SessionBegun(session_id=session.id, kept_seconds=kept, where=saved.where)

    async def resume_session(
        self,
        session_id: Handle,
        last: Annotated[int, Field(ge=0, le=200, description="how many of the newest turns to return")] = 10,
    ) -> SessionFound:
        """Go on with an earlier session: whether it is still there, and what was done in it last."""
        with self._for_the_caller():
            loaded = await self._sessions.load(session_id, last=last)
            session = loaded.need()
            metadata = session.metadata
            return SessionFound(
                session_id=session_id,
                title=sendable(title_of(session)),
                created_at=_text(metadata.get("created_at")),
                last_active=_text(metadata.get("last_active")),
                turns=session.history.older + len(session.history),
                last_turns=[sendable(plain(dict(turn), "history")) for turn in session.history],
                interrupted=await self._interrupted(session_id),
            )

    async def list_sessions(
        self, limit: Annotated[int, Field(ge=1, le=200, description="how many at most")] = 20
    ) -> SessionList:
        """List your sessions, the one used last first."""
        with self._for_the_caller():
            summaries = await self._sessions.list_sessions(limit)
            return SessionList(sessions=[SessionLine.of(summary) for summary in summaries])

    async def end_session(self, session_id: Handle) -> SessionEnded:
        """End a session for good; what it holds is deleted. It cannot be brought back: ask the user first."""
        with self._for_the_caller():
            if not await self._sessions.delete_session(session_id):
                raise unknown(session_id)
            return SessionEnded(session_id=session_id)

    async def _interrupted(self, session_id: str) -> str | None:
        found = await self._sessions.turns.look(session_id)
        if found is None or found.running:
            return None
        return sendable(f"{found.turn.flow_id} was begun at {found.turn.started_at} and never finished")  # type: ignore[no-any-return]

    @contextmanager
    def _for_the_caller(self) -> Iterator[None]:
        """Act for the caller, and turn our errors into the framework's own."""
        try:
            with acting_as(self._framework.principal()):
                yield
        except FlywheelError as error:
            raise self._framework.tool_error(self._advice.on(error)) from error


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
