"""Runs of flows on record: stored for as long as their flows say, and found again."""

from __future__ import annotations

import asyncio
import time

from ..backends import FlowRegistry
from ..config import TimesToLive
from ..errors import StoreError, Unavailable, UnknownFlow
from ..manager import Saved, SessionManager
from ..session import Execution, InFlight, UniversalSession

LOOKED_THROUGH = 1000  # turns of a session, for one whose execution cannot be read now
PAUSE_SECONDS = 0.05


class Records:
    """Stores executions, each for as long as its flow's settings say."""

    def __init__(self, sessions: SessionManager, flows: FlowRegistry) -> None:
        self._sessions = sessions
        self._flows = flows

    async def put(
        self, execution: Execution, session: UniversalSession | None = None, *, ends: InFlight | None = None
    ) -> Saved:
        """Store an execution, in one commit with what changed in its session if that is given.

        Where the session cannot take it, at least the execution is stored. ``ends`` is the turn that ends with it;
        see `SessionManager.save_session`.
        """
        ttl = self._ttl(execution.flow_id)
        if session is None:
            return await self._sessions.save_execution(execution, ttl=ttl)
        saved = await self._sessions.save_session(
            session, executions=[execution], ttl=ttl, under=ends, ends=ends is not None
        )
        if saved.outcome == "refused":
            await self._sessions.save_execution(execution, ttl=ttl)
        return saved

    def _ttl(self, flow_id: str | None) -> TimesToLive | None:
        try:
            flow = self._flows.get(flow_id or "")
        except UnknownFlow:  # by now: another process may have other settings
            return None
        if flow.execution_ttl is None and flow.history_ttl is None:
            return None
        usual = self._sessions.ttl
        return TimesToLive(
            session=usual.session,
            execution=usual.execution if flow.execution_ttl is None else flow.execution_ttl,
            history=usual.history if flow.history_ttl is None else flow.history_ttl,
        )

    async def find(self, session_id: str, execution_id: str, *, patience: float = 0.0) -> Execution | None:
        """An execution of a session, or None also where the store cannot tell: that keeps nobody from asking.

        While the store is away, the turns that this machine knows tell of theirs. ``patience`` is how many seconds
        it may be asked again, if these do not.
        """
        until = time.monotonic() + patience
        while True:
            try:
                return await self._sessions.load_execution(execution_id)
            except Unavailable:
                known = await self._of_turn(session_id, execution_id)
                if known is not None or time.monotonic() >= until:
                    return known
            except StoreError:
                return None
            await asyncio.sleep(PAUSE_SECONDS)

    async def _of_turn(self, session_id: str, turn_id: str) -> Execution | None:
        session = (await self._sessions.load(session_id, last=LOOKED_THROUGH)).session
        turns = reversed(session.history) if session is not None else ()
        turn = next((turn for turn in turns if turn.id == turn_id), None)
        return Execution.of_turn(turn, session_id, session.backend) if session is not None and turn else None
