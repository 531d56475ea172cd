"""Settling: what became of turns whose answers did not arrive, as far as the servers of their flows tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from ..backends import FlowRegistry, Message, Question
from ..errors import FlywheelError, UnknownFlow
from ..manager import SessionManager
from ..session import Execution, Turn, UniversalSession, now
from ..session.times import seconds
from .matching import answer_to
from .open_question import OPEN, forget_open, note_open
from .records import Records
from .server_side import NotTold, ServerSide

log = logging.getLogger(__name__)

UNSETTLED = "unsettled"  # in a session's metadata: the ids of its turns whose end nobody knows
MOST = 10
OLDEST_SECONDS = 24 * 3600
LATELY = 10  # turns: among them is one that was recorded just before its process died
TURNS_SEEN = 1000  # of the newest: what they account for among the server's messages is no new answer
SETTLED = "settled"  # in an execution: how its answer was found
HOW = "read back from the flow's server"


def has_unsettled(session: UniversalSession) -> bool:
    """Whether a session has turns whose end nobody knows."""
    return bool(_noted(session))


class Settler:
    """Notes turns whose end nobody knows in their sessions, and settles them when a flow's server tells.

    Such are also those whose callers cancelled them: the server may finish them all the same, and know of them from
    then on. Their executions stay cancelled, and have the answer.

    A turn that is settled stands in its session as if its answer had arrived: under its own id, and with the
    time at which it was begun. One that is not settled within a day stays as it is.
    """

    def __init__(
        self, sessions: SessionManager, flows: FlowRegistry, records: Records, servers: ServerSide
    ) -> None:
        self._sessions = sessions
        self._flows = flows
        self._records = records
        self._servers = servers

    async def put_unsettled(self, session_id: str, execution: Execution) -> None:
        """Store an execution whose end nobody knows, and note it in its session."""
        try:
            session = await self._sessions.require_or_stand_in(session_id, execution.backend or "", last=LATELY)
        except FlywheelError:  # no session could take the answer
            await self._records.put(execution)
            return
        if _has(session, execution):  # its end was known, to one who could not tell us
            return
        _note(session, [*(noted for noted in _noted(session) if noted != execution.id), execution.id])
        note_open(session, execution)
        await self._records.put(execution, session)

    async def settle(self, session_id: str, further: Iterable[Execution] = ()) -> bool:
        """Look what became of a session's unsettled turns, and record those that were answered; whether any was.

        Asking servers takes `TELL_SECONDS` at most, and nothing of it fails the caller.

        Args:
            session_id: a session in which nobody runs a turn now, but for the caller.
            further: executions that are not noted in it, and may have been answered, too.
        """
        try:
            session = await self._sessions.require(session_id, last=TURNS_SEEN)
            return await self._settle(session, further)
        except FlywheelError as error:
            log.warning("turns of session %s stay unsettled: %s", session_id, type(error).__name__)
            return False

    async def _settle(self, session: UniversalSession, further: Iterable[Execution]) -> bool:
        executions = await self._open(session, further)
        told_of = await self._messages(session, {execution.flow_id or "" for execution in executions})
        settled, left = False, []
        for execution in executions:
            if _has(session, execution):  # others settled it while we settled the one before
                continue
            messages = told_of[execution.flow_id or ""]
            answer = answer_to(execution, session.history, messages or ())
            if answer is not None:
                settled |= await self._record(session, execution, answer)
            elif messages is not None:
                left.append(execution.id)
        await self._keep_notes(session, left)
        return settled

    async def _open(self, session: UniversalSession, further: Iterable[Execution]) -> list[Execution]:
        """The executions that may be settled, in the order in which they were begun."""
        noted = [await self._sessions.load_execution(turn_id) for turn_id in _noted(session)]
        found = {execution.id: execution for execution in (*further, *noted) if execution is not None}
        oldest = seconds(now()) - OLDEST_SECONDS
        still_open = [
            execution
            for execution in found.values()
            if execution.status in ("unknown", "cancelled")
            and execution.session_id == session.id  # a fork has the notes of the other one
            and not _has(session, execution)
            and seconds(execution.started_at) > oldest
        ]
        return sorted(still_open, key=lambda execution: seconds(execution.started_at))

    async def _messages(
        self, session: UniversalSession, flow_ids: Iterable[str]
    ) -> dict[str, list[Message] | None]:
        """What the server of each flow has of a session; None where it keeps nothing, or does not tell."""
        conversation = Question("", session).conversation

        async def messages(flow_id: str) -> list[Message] | None:
            try:
                flow = self._flows.get(flow_id)
            except UnknownFlow:  # by now; it may be configured again, or elsewhere
                return []
            try:
                return await self._servers.messages(flow, conversation)
            except NotTold:
                return []

        names = list(flow_ids)
        return dict(zip(names, await asyncio.gather(*map(messages, names)), strict=True))

    async def _record(self, session: UniversalSession, execution: Execution, answer: str) -> bool:
        """Record a turn with the answer that was found, in one commit; whether the store took it."""
        if execution.status == "unknown":
            execution.status, execution.error, execution.duration_ms = "completed", None, None
        execution.output = execution.text = answer
        execution.extra[SETTLED] = HOW
        place = len(session.history)
        while place and seconds(session.history[place - 1].timestamp) > seconds(execution.started_at):
            place -= 1
        if place == len(session.history):
            session.current_flow_id = execution.flow_id
        turn = Turn(
            id=execution.id,
            timestamp=execution.started_at,
            question=execution.question,
            flow_id=execution.flow_id,
            response=answer,
            duration_ms=None,
        )
        session.history.insert(place, turn)
        self._sessions.turns.disown(execution.id)
        _note(session, [noted for noted in _noted(session) if noted != execution.id])
        if session.metadata.get(OPEN) == execution.id:
            forget_open(session)
        return (await self._records.put(execution, session)).outcome != "refused"

    async def _keep_notes(self, session: UniversalSession, turn_ids: list[str]) -> None:
        """Keep of a session's notes those of some turns."""
        noted = _noted(session)
        kept = [turn_id for turn_id in noted if turn_id in turn_ids]
        if kept != noted:
            _note(session, kept)
            await self._sessions.save_session(session)


def _has(session: UniversalSession, execution: Execution) -> bool:
    return any(turn.id == execution.id for turn in reversed(session.history))


def _noted(session: UniversalSession) -> list[str]:
    noted = session.metadata.get(UNSETTLED)
    return [turn_id for turn_id in noted if isinstance(turn_id, str)] if isinstance(noted, list) else []


def _note(session: UniversalSession, turn_ids: list[str]) -> None:
    if turn_ids:
        session.metadata[UNSETTLED] = turn_ids[-MOST:]
    else:
        session.metadata.pop(UNSETTLED, None)
