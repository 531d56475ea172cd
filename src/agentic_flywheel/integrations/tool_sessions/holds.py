"""Calls that change the state of one session run one after another, in this process and among all."""

from __future__ import annotations

import asyncio
from contextvars import Context
from weakref import WeakValueDictionary

from ...errors import Unavailable
from ...manager import Loaded, SessionManager
from ...session import InFlight
from ...stores.owned import acting, acting_as

WAIT_SECONDS = 30.0  # for other calls of the same session
FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.1


class Hold:
    """A session that is held for one call, until `let_go`."""

    __slots__ = ("_over", "turn")

    def __init__(self, turn: InFlight, over: asyncio.Event) -> None:
        self.turn = turn
        self._over = over

    def let_go(self) -> None:
        """Give the session up; the store is told of it beside the caller, who need not wait for that."""
        self._over.set()


class Holds:
    """Holds sessions for calls: a lock in this process, and the store's claim among processes."""

    def __init__(self, sessions: SessionManager) -> None:
        self._sessions = sessions
        self._locks: WeakValueDictionary[tuple[int, str, str], asyncio.Lock] = WeakValueDictionary()
        self._keepers: set[asyncio.Task[None]] = set()

    async def take(self, session_id: str, turn: InFlight) -> tuple[Hold, Loaded]:
        """Hold a session, once it is free; and what it is from then on, without its turns.

        Raises:
            BadSessionId: the id can name no session.
            Unavailable: others have held it for too long.
        """
        loop = asyncio.get_running_loop()
        lock = self._locks.setdefault((id(loop), acting(), session_id), asyncio.Lock())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await lock.acquire()
                return await self._take(session_id, turn, lock)
        except TimeoutError as error:
            raise Unavailable(
                f"session {session_id!r} is in use: other calls have held it for {WAIT_SECONDS:g} s"
            ) from error

    async def _take(self, session_id: str, turn: InFlight, lock: asyncio.Lock) -> tuple[Hold, Loaded]:
        over = asyncio.Event()
        try:
            loaded = await self._claimed(session_id, turn)
        except BaseException:  # the store may have granted the claim all the same
            over.set()
            raise
        finally:
            keeper = asyncio.create_task(self._keep(acting(), session_id, turn, lock, over), context=Context())
            self._keepers.add(keeper)
            keeper.add_done_callback(self._keepers.discard)
        return Hold(turn, over), loaded

    async def _claimed(self, session_id: str, turn: InFlight) -> Loaded:
        pause = FIRST_PAUSE_SECONDS
        while True:
            found, loaded = await self._sessions.claim_and_load(session_id, turn, last=0)
            if found is None or not found.running:
                return loaded
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _keep(
        self, principal: str, session_id: str, turn: InFlight, lock: asyncio.Lock, over: asyncio.Event
    ) -> None:
        try:
            with acting_as(principal):
                async with self._sessions.turns.kept(session_id, turn):
                    await over.wait()
        finally:
            lock.release()

    async def close(self) -> None:
        """Wait until the store knows of all that was let go."""
        if self._keepers:
            await asyncio.wait(set(self._keepers))
