"""One turn of a session at a time, and each request once."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from ..errors import FlowFailed, StoreError
from ..manager import Found, Interrupted, Loaded, SessionManager
from ..session import Execution, InFlight, new_id
from .records import Records
from .runs import to_the_end
from .settling import SETTLED, Settler

FIRST_LOOK_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.25
NOTICED_SECONDS = 2.0  # by then all processes of a machine know that a store is back that one of them wrote to


def turn_id_for(session_id: str, request_key: str | None) -> str:
    """The id of a turn: a new one, or for a request key always the same one in the same session."""
    if request_key is None:
        return new_id("turn")
    digest = hashlib.sha256(f"{len(session_id)}:{session_id}:{request_key}".encode(errors="surrogatepass"))
    return f"turn_{digest.hexdigest()[:32]}"


class Busy(Exception):
    """Another turn is being run in the session: ``found``."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.turn.turn_id)
        self.found = found


@dataclass(frozen=True, slots=True)
class Passed:
    """What a turn found when it was its turn: the ``earlier`` execution that answers it, or the session.

    ``loaded`` is None where the session has to be loaded anew: something was put on record before the turn, or
    the store could not say.
    """

    earlier: Execution | None = None
    loaded: Loaded | None = None


class Gate:
    """Lets one turn of a session through at a time, also among processes and machines.

    While a turn is being run, its session is claimed for it in the store. While the store is away, only the
    processes of this machine agree on who is next.
    """

    def __init__(self, sessions: SessionManager, records: Records, settler: Settler) -> None:
        self._sessions = sessions
        self._records = records
        self._settler = settler

    async def passed(
        self,
        session_id: str,
        turn: InFlight,
        *,
        last: int | None,
        keyed: bool,
        idempotent: bool,
        waits: bool = True,
        seen: Found | None = None,
    ) -> Passed:
        """Wait until it is the turn's turn, and claim the session for it; or give the execution that answers it.

        Whoever calls this keeps the claim (`TurnsInFlight.kept`), which gives it up in the end.

        Args:
            session_id: the session that is to be claimed.
            turn: what is to be run in it.
            last: how many of its newest turns are loaded with it; None for all.
            keyed: whether an earlier turn of the same id answers it.
            idempotent: whether it may be run although nobody knows whether such a turn was.
            waits: whether it waits for a turn that is being run.
            seen: a turn that was being run when this one was asked for.

        Raises:
            Busy: another turn is being run, and this one does not wait.
            FlowFailed: a request of this key was run before and has no answer.
        """
        earlier = await self._records.find(session_id, turn.turn_id) if keyed else None
        passed = Passed(earlier)
        if not _has_ended(earlier):
            answering = {turn.turn_id: False} if keyed else {}
            self._note_the_same(turn, seen, answering)
            passed = await self._claim(session_id, turn, last, answering, idempotent, waits)
        return passed if passed.earlier is None else Passed(_answered(passed.earlier))

    async def found(self, session_id: str) -> Found | None:
        """The turn that is being run in a session, or that was begun last and never finished; None if not known."""
        try:
            found = await self._sessions.turns.look(session_id)
        except StoreError:
            return None
        if found is None or found.running:
            return found
        # Its process may have died just after it was recorded.
        done = await self._records.find(session_id, found.turn.turn_id)
        return None if done is not None and done.status == "completed" else found

    async def _claim(
        self,
        session_id: str,
        turn: InFlight,
        last: int | None,
        answering: dict[str, bool],
        idempotent: bool,
        waits: bool,
    ) -> Passed:
        """Claim the session when it is free; or give the execution that answers the turn.

        ``answering`` has the ids of turns that would, and whether they were seen running: the first one of the same
        key. A running turn of the same question would, too; each that is seen, since one that only waited like
        this one is never put on record.
        """
        claim_and_load = partial(self._claim_and_load, session_id, turn, last)
        try:  # a claim is waited for also by a caller who is cancelled: only then it can be given up
            found, loaded = await to_the_end(claim_and_load)
            pause = FIRST_LOOK_SECONDS
            while found is not None and found.running:
                if not waits:
                    raise Busy(found)
                self._note_the_same(turn, found, answering)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                if _has_ended(done := await self._ended(session_id, answering)):
                    break
                found, loaded = await to_the_end(claim_and_load)
            else:  # The session is ours. Only now nobody can finish the same turn between our look and our run.
                done = await self._put_on_record(session_id, found)
                done = await self._end_of(session_id, answering, done)
                if done is None or (idempotent and not _has_ended(done)):
                    return Passed(loaded=loaded if done is None else None)
        except BaseException:
            await asyncio.shield(self._sessions.turns.release(session_id, turn))
            raise
        # Also where nobody granted it: the store may have, and its answer was lost.
        await asyncio.shield(self._sessions.turns.release(session_id, turn))
        return Passed(done)

    def _note_the_same(self, turn: InFlight, found: Found | None, answering: dict[str, bool]) -> None:
        """Have a turn that was found running answer another one, if it is of the same question."""
        if found is not None and self._sessions.turns.asks_the_same(found.turn, turn):
            answering[found.turn.turn_id] = True

    async def _claim_and_load(
        self, session_id: str, turn: InFlight, last: int | None
    ) -> tuple[Found | None, Loaded | None]:
        """What stands in the way, or what was loaded once nothing did.

        A store that cannot say who is running does not keep a question from being asked.
        """
        found, loaded = await self._sessions.claim_and_load(session_id, turn, last=last)
        return found, loaded if found is None and loaded.session is not None else None

    async def _ended(self, session_id: str, answering: Iterable[str]) -> Execution | None:
        """Of turns that would answer, one that has ended."""
        for turn_id in answering:
            if _has_ended(done := await self._records.find(session_id, turn_id)):
                return done
        return None

    async def _end_of(
        self, session_id: str, answering: Mapping[str, bool], known: Execution | None
    ) -> Execution | None:
        """Of turns that would answer, one that has ended; else one whose end nobody knows, after another look.

        One that was seen running and is nowhere now may be in a store that this process still takes for away.
        """
        until, unknown = time.monotonic() + NOTICED_SECONDS, None
        for turn_id, ran in answering.items():
            done = known
            if done is None or done.id != turn_id:
                patience = until - time.monotonic() if ran else 0.0
                done = await self._records.find(session_id, turn_id, patience=patience)
            if done is not None and not _has_ended(done) and await self._settler.settle(session_id, [done]):
                done = await self._records.find(session_id, turn_id) or done
            if _has_ended(done):
                return done
            unknown = unknown or done
        return unknown

    async def _put_on_record(self, session_id: str, found: Found | None) -> Execution | None:
        """Put an interrupted turn on record, as an execution whose end nobody knows; what is on record of it."""
        interrupted = found.interrupted if found is not None else None
        if interrupted is None:
            return None
        earlier = await self._records.find(session_id, interrupted.turn.turn_id)
        if earlier is not None:
            return earlier
        execution = execution_of(session_id, interrupted)
        await self._settler.put_unsettled(session_id, execution)
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
    if execution.status == "completed" or SETTLED in execution.extra:
        return execution
    raise FlowFailed(
        f"this request was run before, in flow {execution.flow_id!r}, and has no answer ({execution.status}: "
        f"{execution.error}); to run it again, ask again, with another request_key if it has one"
    )
