"""Whose sessions are, and giving them to others: to read, or for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import BadInput, SessionNotFound, StoreError
from ..session import Execution, History, UniversalSession, now
from ..stores import Record, Stored
from ..stores.owned import acting, acting_as
from .changes import Origin

if TYPE_CHECKING:
    from .sessions import SessionManager

OWNER = "owner"
"""The key of a session's metadata that names its owner's principal."""

HANDED_OVER = "handed_over_at"
"""The key that says when a session changed its owner."""


def sign(session: UniversalSession) -> None:
    """Write into a session that is to be created whose it will be."""
    if principal := acting():
        session.metadata[OWNER] = principal


def is_whose_name_it_bears(session: UniversalSession, stored: Stored) -> bool:
    """Whether a session that lies under an owner's name says itself that it is his.

    A document that was put there by other means than ours is nobody's.
    """
    owner = stored.shared_by or acting()
    return not owner or session.metadata.get(OWNER) == owner


def refuse_reader(session: UniversalSession) -> None:
    """Keep from writing who may only read.

    Raises:
        BadInput: the session is somebody else's, who shows it; says how to go on.
    """
    origin = session.origin
    if isinstance(origin, Origin) and origin.shared_by:
        raise BadInput(f"session {session.id!r} is shared with you to be read; to go on with it, fork it")


async def share(sessions: SessionManager, session_id: str, reader: str, *, allowed: bool) -> None:
    """Let another principal read a session of one's own, or no longer.

    It is read under the same handle, and expires as if nobody but its owner used it.

    Args:
        sessions: where it is.
        session_id: the session.
        reader: the principal.
        allowed: False takes it back.

    Raises:
        BadInput: there is nobody to share with, or who could.
        SessionNotFound, BadSessionId, Damaged, Newer, Unavailable: as `SessionManager.require`.
        StoreError: it could not be noted.
    """
    owner = _owner_for(reader)
    refuse_reader(await sessions.require(session_id, last=0))
    await sessions.put_share(session_id, reader, owner if allowed else "")


async def hand_over(sessions: SessionManager, session_id: str, receiver: str) -> None:
    """Give a session of one's own to another principal, with its turns and executions, under the same handle.

    It is written for the new owner, then removed from one's own; executions that one could read stay readable
    until they expire.

    Raises:
        BadInput: there is nobody to give it to, or who could; or they have a session of this handle.
        SessionNotFound, BadSessionId, Damaged, Newer, Unavailable: as `SessionManager.require`.
        StoreError: it could not be written, or not be removed.
    """
    _owner_for(receiver)
    session = await sessions.require(session_id)
    refuse_reader(session)
    executions = await _executions(sessions, session)
    await sessions.put_share(session_id, receiver, "")  # it is to be theirs, and not only to be read
    with acting_as(receiver):
        if (await sessions.load(session_id, last=0)).session is not None:
            raise BadInput(f"they have a session {session_id!r} already")
        history = History.of_lines(session.history.stored_lines() or (), form=session.history.form)
        given = UniversalSession.of_head(session.head(), history)
        given.metadata[HANDED_OVER] = now()
        saved = await sessions.save_session(given, executions=executions)
    if saved.outcome == "refused":
        raise StoreError(f"the session was not handed over: {saved.reason}")
    if not await sessions.delete_session(session_id):
        raise SessionNotFound(f"session {session_id!r} was handed over; it was not there any more to be removed")


def _owner_for(other: str) -> str:
    owner = acting()
    if not owner:
        raise BadInput(
            "sessions have owners only where callers have to say who they are (MCP over HTTP with tokens)"
        )
    if not other or other == owner:
        raise BadInput("name somebody else")
    return owner


async def _executions(sessions: SessionManager, session: UniversalSession) -> list[Execution]:
    names = [turn.id for turn in session.history if isinstance(turn.id, str) and isinstance(turn.flow_id, str)]
    found = [await sessions.load_execution(name) for name in names]
    return [execution for execution in found if execution is not None]


def share_record(name: str, owner: str, ttl: int) -> Record:
    """What notes, under the name that a reader has for a session, whose it is; with ``""`` nobody's."""
    return Record("share", name, owner.encode(), ttl)
