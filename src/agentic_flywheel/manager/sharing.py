"""Giving sessions to others: to read, or for good."""

from __future__ import annotations

from ..errors import BadInput, SessionNotFound, StoreError
from ..session import Execution, History, UniversalSession, now
from ..stores import Record
from ..stores.deadline import within
from ..stores.names import name_of
from ..stores.owned import acting, acting_as
from .owners import refuse_reader
from .sessions import SessionManager

HANDED_OVER = "handed_over_at"
"""The key of a session's metadata that says when it changed its owner."""


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
    await _put_share(sessions, session_id, reader, owner if allowed else "")


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
    await _put_share(sessions, session_id, receiver, "")  # it is to be theirs, and not only to be read
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


async def _put_share(sessions: SessionManager, session_id: str, reader: str, owner: str) -> None:
    """Note, under the name that a reader has for a session, whose it is; with ``""`` nobody's."""
    note = Record("share", name_of(reader, session_id), owner.encode(), sessions.ttl.session)
    with within(sessions.budget):
        await sessions.store.put([note])
