"""Claims among the processes of this machine, for while the store is away."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from ..errors import StoreError
from ..stores import Claim, Grant
from .journal import Journal

NOTED_AFTER = 0.02  # seconds; a turn that is over sooner costs nothing here
AGREED_AFTER = 0.2  # seconds; by then all have noted what the store granted before it went away
TIDY_EVERY = 256  # claims; some 4 MB of the journal's log


@dataclass(slots=True)
class _Held:
    """A claim of this process, and what is still to be done to note it."""

    granted: bool = False  # by the store
    timer: asyncio.TimerHandle | None = None
    noting: asyncio.Task[None] | None = None

    @property
    def waits(self) -> bool:
        """Whether it is to be noted later."""
        return self.timer is not None and self.noting is None

    async def settle(self) -> None:
        """See to it that nothing is noted later, or just now."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.noting is not None:
            await asyncio.wait((self.noting,))


class LocalClaims:
    """The claims that the processes of this machine have, in the journal.

    While the store answers, it alone says who is next. What it granted is noted here a moment later, beside the
    turn, if that is not over by then. When the store stops answering, nobody claims anything here until that
    moment has passed for all, so that a turn that is being run is known to everybody.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._held: dict[tuple[str, str], _Held] = {}  # by session and turn
        self._silent_since: float | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._released = 0

    @property
    def decide(self) -> bool:
        """Whether the store did not answer when a session was claimed last."""
        return self._silent_since is not None

    def store_answers(self) -> None:
        """Note that the store says who is next."""
        self._silent_since = None

    def is_granted(self, session_id: str, turn_id: str) -> bool:
        """Whether the store granted a claim of this process."""
        held = self._held.get((session_id, turn_id))
        return held is not None and held.granted

    def has(self, session_id: str, turn_id: str) -> bool:
        """Whether this process has a claim, here or in the store."""
        return (session_id, turn_id) in self._held

    async def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Grant:
        """Claim a session here; granted, too, where the journal cannot be used. For the rest see `Store.claim`."""
        renews = self.has(session_id, turn_id)
        held = self._held.setdefault((session_id, turn_id), _Held())
        await held.settle()
        try:
            grant = await self._journal.claim(session_id, turn_id, note, seconds=seconds, instead=instead)
        except StoreError:
            return Grant(0)
        if grant.stands and not renews:
            self._held.pop((session_id, turn_id), None)
        return Grant(0, grant.found)

    async def agree(self, session_id: str, turn_id: str) -> bool:
        """Have what the store granted before it stopped answering be known here; whether that had to be waited for.

        What the turn has claimed here meanwhile is given up for that.
        """
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        if (left := self._silent_since + AGREED_AFTER - now) <= 0:
            return False
        await self.release(session_id, turn_id)
        await asyncio.sleep(left)
        return True

    def granted(self, session_id: str, turn_id: str, note: bytes, *, seconds: float) -> None:
        """Note a claim that the store granted, in a moment, if it is not given up by then."""
        known = self._held.get((session_id, turn_id))
        if known is not None:  # it is here already
            known.granted = True
            return
        held = self._held[session_id, turn_id] = _Held(granted=True)

        def begin() -> None:
            work = self._note(session_id, turn_id, note, seconds)
            held.noting = asyncio.create_task(work, context=Context())

        held.timer = asyncio.get_running_loop().call_later(NOTED_AFTER, begin)

    async def _note(self, session_id: str, turn_id: str, note: bytes, seconds: float) -> None:
        with suppress(StoreError):
            await self._journal.claim(session_id, turn_id, note, seconds=seconds)

    async def claimed(self, session_id: str) -> Claim | None:
        """The claim that a process of this machine has on a session."""
        if self._journal.exists:
            with suppress(StoreError):
                return await self._journal.claimed(session_id)
        return None

    async def release(self, session_id: str, turn_id: str) -> None:
        """Give up a claim of this process. One that cannot be given up ends by itself."""
        held = self._held.pop((session_id, turn_id), None)
        waited = held is None or held.waits
        if held is not None:
            await held.settle()
        if waited:
            return
        with suppress(StoreError):
            await self._journal.release(session_id, turn_id)
        self._tidy_beside()

    def _tidy_beside(self) -> None:
        """Have the journal's log begun anew now and then: each claim makes it longer."""
        self._released += 1
        if self._released % TIDY_EVERY == 0 and (self._tidying is None or self._tidying.done()):
            self._tidying = asyncio.create_task(self._tidy(), context=Context())

    async def _tidy(self) -> None:
        with suppress(StoreError):  # it is only upkeep
            await self._journal.tidy()

    async def close(self) -> None:
        """Note nothing any more, and wait for what is under way."""
        here = asyncio.get_running_loop()
        for held in self._held.values():
            if held.timer is not None:
                held.timer.cancel()
                held.timer = None
        under_way = [self._tidying, *(held.noting for held in self._held.values())]
        if tasks := [task for task in under_way if task is not None and task.get_loop() is here]:
            await asyncio.wait(tasks)
