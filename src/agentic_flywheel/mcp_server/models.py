"""What the tools answer, with the schema that clients see."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from ..backends import Flow
from ..codec import Summary
from ..flywheel import Reply
from ..jsontext import sendable
from ..manager import Saved
from ..session import UniversalSession

# Any value of JSON, with each type named: a schema that says nothing is one that not every client takes.
Json = Annotated[
    Any,
    WithJsonSchema(
        {"anyOf": [{"type": kind} for kind in ("object", "array", "string", "number", "boolean", "null")]}
    ),
]


class SaveState(BaseModel):
    """Whether what was said is safe."""

    outcome: Literal["stored", "journalled", "off", "refused"] = Field(
        description="stored: safe. journalled: accepted on local disk until the store answers again. "
        "off: kept in this server's memory only. refused: NOT kept; tell the user, with the reason."
    )
    where: str = Field(description="where it is kept")
    reason: str | None = Field(default=None, description="why it was refused")

    @classmethod
    def of(cls, saved: Saved) -> Self:
        """What a client is told about a save."""
        return cls(outcome=saved.outcome, where=saved.where, reason=saved.reason)


class SessionCreated(BaseModel):
    """A new session."""

    session_id: str = Field(description="the handle; pass it to every later call of this conversation")
    kept_seconds: int = Field(description="how long it is kept after its last use; 0: for ever")
    saved: SaveState


class LeftOut(BaseModel):
    """What there was no room for."""

    turns: int = Field(description="how many turns: the oldest ones")
    since: str | None = Field(description="when these began, UTC")
    until: str | None = Field(description="when the newest of them was, UTC")
    context_keys: list[str] = Field(description="keys of the context that are not shown")
    further_context_keys: int = Field(description="how many more of them there are")


class SessionView(BaseModel):
    """What it takes to go on with a session, within a budget of tokens."""

    session_id: str
    title: str | None
    status: str
    backend: str
    current_flow_id: str | None = Field(description="the flow that the next question goes to")
    created_at: str | None
    last_active: str | None
    context: dict[str, Any] = Field(description="what the conversation knows, by key")
    turns: int = Field(description="how many turns the session has")
    last_turns: list[dict[str, Any]] = Field(
        description="the newest turns word for word, oldest first: id (also of the turn's execution), timestamp, "
        "question, flow_id, response, duration_ms"
    )
    earlier_turns: list[str] = Field(description="the turns before those, oldest first, in a line each")
    interrupted: str | None = Field(
        description="the last question, if it was never answered (interrupted, cancelled, or no answer arrived): "
        "tell the user, ask again only if they want"
    )
    behind: bool = Field(
        description="the store is away: this is what this machine knows; new turns of others may be lacking"
    )
    cut: list[str] = Field(description="what is not whole: context.KEY, last_turns (then it is one), or a field")
    left_out: LeftOut
    more: str | None = Field(description="where the rest is, if something was cut or left out")


class SessionLine(BaseModel):
    """A session in a listing."""

    session_id: str
    title: str | None
    status: str
    backend: str
    current_flow_id: str | None
    turns: int
    created_at: str | None
    last_active: str | None
    size: int = Field(description="bytes")

    @classmethod
    def of(cls, summary: Summary) -> Self:
        """The line of a summary."""
        fields = asdict(summary)
        return cls(session_id=fields.pop("id"), **sendable(fields))


class SessionList(BaseModel):
    """Sessions, the one used last first."""

    sessions: list[SessionLine]


class ContextUpdated(BaseModel):
    """The context as it is now."""

    session_id: str
    context: dict[str, Any]
    saved: SaveState


class SessionForked(BaseModel):
    """A new session that goes on from another one."""

    session_id: str = Field(description="the handle of the new session")
    forked_from: str
    turns: int


class SessionDeleted(BaseModel):
    """A session that is gone for good."""

    session_id: str
    deleted: Literal[True] = True


class SessionShared(BaseModel):
    """Who may read a session from now on, or no longer."""

    session_id: str
    subject: str
    may_read: bool


class SessionHandedOver(BaseModel):
    """A session that is somebody else's from now on."""

    session_id: str
    subject: str = Field(description="whose it is now")


class FlowAnswer(BaseModel):
    """What a flow answered."""

    session_id: str = Field(description="the handle of the conversation; pass it along with the next question")
    turn_id: str = Field(description="names the turn and its execution (get_execution)")
    flow_id: str
    response: str
    duration_ms: int
    saved: SaveState
    repeated: bool = Field(description="asked before with this key, or while it was still running; not run again")

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """What a client is told of a reply."""
        return cls(
            session_id=reply.session_id,
            turn_id=reply.turn_id,
            flow_id=reply.flow_id,
            response=sendable(reply.text),
            duration_ms=reply.duration_ms,
            saved=SaveState.of(reply.saved),
            repeated=reply.repeated,
        )


class FlowLine(BaseModel):
    """A flow that questions can go to."""

    flow_id: str
    backend: str
    description: str
    keywords: list[str] = Field(description="words in a question for which it is the right one to ask")
    is_default: bool

    @classmethod
    def of(cls, flow: Flow, default: str) -> Self:
        """The line of a flow."""
        return cls(
            flow_id=flow.id,
            backend=flow.backend,
            description=flow.description,
            keywords=list(flow.keywords),
            is_default=flow.id == default,
        )


class FlowList(BaseModel):
    """The flows that there are."""

    flows: list[FlowLine]


class TurnRecorded(BaseModel):
    """A turn that is on record now."""

    session_id: str
    turn_id: str
    turns: int = Field(description="how many turns the session has now")
    saved: SaveState


class ExecutionView(BaseModel):
    """One run of a flow."""

    model_config = ConfigDict(extra="allow")

    id: str
    session_id: str | None = None
    flow_id: str | None = None
    backend: str | None = None
    status: str = Field(description="running, completed, failed, cancelled or unknown (no answer came in time)")
    question: Json = None
    parameters: dict[str, Any] = {}
    output: Json = Field(default=None, description="everything that the flow returned")
    error: str | None = None
    started_at: str
    duration_ms: int | None = None


def count_turns(session: UniversalSession) -> int:
    """How many turns a session has, those included that were not loaded."""
    return session.history.older + len(session.history)
