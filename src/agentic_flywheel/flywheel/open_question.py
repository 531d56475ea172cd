"""The question that was asked last in a session, where it has no answer though its flow was asked."""

from __future__ import annotations

from typing import Literal

from ..errors import FlywheelError, StoreError
from ..manager import Interrupted, SessionManager
from ..session import Execution, InFlight, UniversalSession
from ..session.times import seconds
from .records import Records

OPEN = "unanswered"  # in a session's metadata: the id of such a turn
_HOW: dict[str, Literal["cancelled", "unknown"]] = {"cancelled": "cancelled", "unknown": "unknown"}


def note_open(session: UniversalSession, execution: Execution) -> None:
    """Note a turn without an answer in its session."""
    session.metadata[OPEN] = execution.id


def forget_open(session: UniversalSession) -> None:
    """Forget such a turn: another one is answered now."""
    session.metadata.pop(OPEN, None)


class OpenQuestions:
    """Notes questions that were cancelled in their sessions, and finds those that are open, for whatever reason."""

    def __init__(self, sessions: SessionManager, records: Records) -> None:
        self._sessions = sessions
        self._records = records

    async def put_cancelled(self, session_id: str, execution: Execution) -> None:
        """Store an execution that was cancelled, and note it in its session."""
        try:  # anew: what the flow changed in the session that it had is not to be stored
            session = await self._sessions.require_or_stand_in(session_id, execution.backend or "", last=0)
        except FlywheelError:  # no session could take an answer
            await self._records.put(execution)
            return
        note_open(session, execution)
        await self._records.put(execution, session)

    async def of(self, session: UniversalSession) -> Interrupted | None:
        """The question that a session was asked last, if it has no answer; its newest turn has to be loaded."""
        turn_id = session.metadata.get(OPEN)
        if not isinstance(turn_id, str):
            return None
        try:
            execution = await self._sessions.load_execution(turn_id)
        except StoreError:  # it is not known, then
            return None
        return _interrupted(session, execution) if execution is not None else None


def _interrupted(session: UniversalSession, execution: Execution) -> Interrupted | None:
    how = _HOW.get(execution.status)  # none if it was answered in the end
    if how is None or execution.session_id != session.id:  # a fork has the note of the other one
        return None
    asked = seconds(execution.started_at)
    if len(session.history) and seconds(session.history[-1].timestamp) > asked:
        return None
    turn = InFlight(execution.id, execution.question, execution.flow_id or "", execution.started_at or "")
    return Interrupted(turn, (execution.duration_ms or 0) / 1000, how)
