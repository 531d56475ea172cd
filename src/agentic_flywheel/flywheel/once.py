"""One turn of a session at a time, and each request once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import FlowFailed, StoreError
from ..manager import Found, Interrupted, SessionManager
from ..session import Execution, InFlight, new_id
from .records import Records
from .runs import to_the_end
from .settling import Settler

FIRST_LOOK_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.25


def turn_id_for(session_id: str, request_key: str | None) -> str:
    """The id of a turn: a new one, or for a request key always the same one in the same session."""
    if request_key is None:
        return new_id("turn")
    digest = hashlib.sha256(f"{len(session_id)}:{session_id}:{request_key}".encode(errors="surrogatepass"))
    return f"turn_{digest.hexdigest()[:32]}"


class Busy(Exception):
    """Another turn is being run in the session."""


class Gate:
    """Lets one turn of a session through at a time, also among processes and machines.

    While a turn is being run, its session is claimed for it in the store. While the store is away, only the
    processes of this machine agree on who is next.
    """

    def __init__(self, sessions: SessionManager, records: Records, settler: Settler) -> None:
        self._sessions = sessions
        self._records = records
        self._settler = settler

    @asynccontextmanager
    async def passing(
        self, session_id: str, turn: InFlight, *, keyed: bool, idempotent: bool, waits: bool = True
    ) -> AsyncIterator[Execution | None]:
        """Wait until it is the turn's turn, and keep the session for it; or give the execution that answers it.

        Args:
            session_id: the session that is to be claimed.
            turn: what is to be run in it.
            keyed: whether an earlier turn of the same id answers it.
            idempotent: whether it may be run although nobody knows whether such a turn was.
            waits: whether it waits for a turn that is being run.

        Raises:
            Busy: another turn is being run, and this one does not wait.
            FlowFailed: a request of this key was run before and has no answer.
        """
        answering = turn.turn_id if keyed else None
        earlier = await self._records.find(turn.turn_id) if keyed else None
        if not _has_ended(earlier):
            earlier = await self._claim(session_id, turn, answering, idempotent, waits)
        if earlier is not None:
            yield _answered(earlier)
            return
        async with self._sessions.turns.kept(session_id, turn):
            yield None

    async def found(self, session_id: str) -> Found | None:
        """The turn that is being run in a session, or that was begun last and never finished; None if not known."""
        try:
            found = await self._sessions.turns.look(session_id)
        except StoreError:
            return None
        if found is None or found.running:
            return found
        done = await self._records.find(found.turn.turn_id)  # its process may have died just after it was recorded
        return None if done is not None and done.status == "completed" else found

    async def _claim(
        self, session_id: str, turn: InFlight, answering: str | None, idempotent: bool, waits: bool
    ) -> Execution | None:
        """Claim the session when it is free; or give the execution that answers the turn.

        ``answering`` is the id of a turn that would: the first one of the same key. A running turn of the same
        question would, too.
        """
        try:  # a claim is waited for also by a caller who is cancelled: only then it can be given up
            found = await to_the_end(self._try_to_claim(session_id, turn))
            pause = FIRST_LOOK_SECONDS
            while found is not None and found.running:
                if not waits:
                    raise Busy
                if self._sessions.turns.asks_the_same(found.turn, turn):
                    answering = found.turn.turn_id
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                if answering and _has_ended(done := await self._records.find(answering)):
                    return done
                found = await to_the_end(self._try_to_claim(session_id, turn))
            # The session is ours. Only now nobody can finish the same turn between our look and our run.
            done = await self._put_on_record(session_id, found)
            done = await self._end_of(session_id, answering, done) if answering else None
            if done is None or (idempotent and not _has_ended(done)):
                return None
        except BaseException:
            await asyncio.shield(self._sessions.turns.release(session_id, turn))
            raise
        await self._sessions.turns.release(session_id, turn)
        return done

    async def _try_to_claim(self, session_id: str, turn: InFlight) -> Found | None:
        try:
            return await self._sessions.turns.claim(session_id, turn)
        except StoreError:  # a store that cannot say who is running does not keep a question from being asked
            return None

    async def _end_of(self, session_id: str, turn_id: str, known: Execution | None) -> Execution | None:
        """What is on record of a turn; where nobody knows its end, after another look for it."""
        done = known if known is not None and known.id == turn_id else await self._records.find(turn_id)
        if done is None or _has_ended(done) or not await self._settler.settle(session_id, [done]):
            return done
        return await self._records.find(turn_id) or done

    async def _put_on_record(self, session_id: str, found: Found | None) -> Execution | None:
        """Put an interrupted turn on record, as an execution whose end nobody knows; what is on record of it."""
        interrupted = found.interrupted if found is not None else None
        if interrupted is None:
            return None
        earlier = await self._records.find(interrupted.turn.turn_id)
        if earlier is not None:
            return earlier
        execution = execution_of(session_id, interrupted)
        await self._settler.put_unknown(session_id, execution)
        return execution


def execution_of(session_id: str, interrupted: Interrupted) -> Execution:
    """An interrupted turn as an execution whose end nobody knows."""
    turn = interrupted.turn
    return Execution(
        id=turn.turn_id,
        session_id=session_id,
        flow_id=turn.flow_id,
        status="unknown",
        question=turn.question,
        error=str(interrupted),
        started_at=turn.started_at,
        duration_ms=round(interrupted.after * 1000),
    )


def _has_ended(execution: Execution | None) -> bool:
    return execution is not None and execution.status != "unknown"


def _answered(execution: Execution) -> Execution:
    if execution.status == "completed":
        return execution
    raise FlowFailed(
        f"this request was run before, in flow {execution.flow_id!r}, and has no answer ({execution.status}: "
        f"{execution.error}); to run it again, ask again, with another request_key if it has one"
    )
