"""One turn of a session at a time, and each request once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import FlowFailed, StoreError
from ..manager import Found, Interrupted, SessionManager
from ..session import Execution, InFlight, new_id
from .runs import to_the_end

FIRST_LOOK_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.25


def turn_id_for(session_id: str, request_key: str | None) -> str:
    """The id of a turn: a new one, or for a request key always the same one in the same session."""
    if request_key is None:
        return new_id("turn")
    digest = hashlib.sha256(f"{len(session_id)}:{session_id}:{request_key}".encode(errors="surrogatepass"))
    return f"turn_{digest.hexdigest()[:32]}"


class Gate:
    """Lets one turn of a session through at a time, also among processes and machines.

    While a turn is being run, its session is claimed for it in the store. While the store is away, only the
    processes of this machine agree on who is next.
    """

    def __init__(self, sessions: SessionManager) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def passing(self, session_id: str, turn: InFlight, *, keyed: bool) -> AsyncIterator[Execution | None]:
        """Wait until it is the turn's turn, and keep the session for it; or give the execution that answers it.

        Raises:
            FlowFailed: a request of this key was run before and has no answer.
        """
        earlier = await self._earlier(turn.turn_id) if keyed else None
        earlier = earlier or await self._claim(session_id, turn, turn.turn_id if keyed else None)
        if earlier is not None:
            yield _answered(earlier)
            return
        async with self._sessions.turns.kept(session_id, turn):
            yield None

    async def interrupted(self, session_id: str) -> Interrupted | None:
        """The turn of a session that was begun and never finished, if its last one was."""
        found = await self._look(session_id)
        if found is None or found.interrupted is None:
            return None
        done = await self._earlier(found.turn.turn_id)  # its process may have died just after it was recorded
        return None if done is not None and done.status == "completed" else found.interrupted

    async def _claim(self, session_id: str, turn: InFlight, answering: str | None) -> Execution | None:
        """Claim the session when it is free; or give the execution that answers the turn.

        ``answering`` is the id of a turn that would: the first one of the same key. A running turn of the same
        question would, too.
        """
        try:  # a claim is waited for also by a caller who is cancelled: only then it can be given up
            found = await to_the_end(self._try_to_claim(session_id, turn))
            pause = FIRST_LOOK_SECONDS
            while found is not None and found.running:
                if _asks_the_same(found.turn, turn):
                    answering = found.turn.turn_id
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                if answering and (done := await self._earlier(answering)) is not None:
                    return done
                found = await to_the_end(self._try_to_claim(session_id, turn))
            # The session is ours. Only now nobody can finish the same turn between our look and our run.
            done = await self._put_on_record(session_id, found)
            if answering and (done is None or done.id != answering):
                done = await self._earlier(answering)
            if done is None or done.id != answering:
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

    async def _look(self, session_id: str) -> Found | None:
        try:
            return await self._sessions.turns.look(session_id)
        except StoreError:
            return None

    async def _earlier(self, turn_id: str) -> Execution | None:
        try:
            return await self._sessions.load_execution(turn_id)
        except StoreError:
            return None

    async def _put_on_record(self, session_id: str, found: Found | None) -> Execution | None:
        """Put an interrupted turn on record, as an execution whose end nobody knows; what is on record of it."""
        interrupted = found.interrupted if found is not None else None
        if interrupted is None:
            return None
        turn = interrupted.turn
        earlier = await self._earlier(turn.turn_id)
        if earlier is not None:
            return earlier
        execution = Execution(
            id=turn.turn_id,
            session_id=session_id,
            flow_id=turn.flow_id,
            status="unknown",
            question=turn.question,
            error=str(interrupted),
            started_at=turn.started_at,
            duration_ms=round(interrupted.after * 1000),
        )
        await self._sessions.save_execution(execution)
        return execution


def _asks_the_same(one: InFlight, other: InFlight) -> bool:
    return (one.question, one.flow_id) == (other.question, other.flow_id)


def _answered(execution: Execution) -> Execution:
    if execution.status == "completed":
        return execution
    raise FlowFailed(
        f"this request was run before, in flow {execution.flow_id!r}, and has no answer ({execution.status}: "
        f"{execution.error}); to run it again, ask again, with another request_key if it has one"
    )
