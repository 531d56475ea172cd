"""Claims among the processes of this machine, for while the store is away."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..errors import StoreError
from ..stores import Claim, Grant
from .journal import Journal
from .journal_file import ReadAhead

NOTED_AFTER = 0.02  # seconds; a turn that is over sooner costs nothing here
AGREED_AFTER = 0.2  # seconds; by then all have noted what the store granted before it went away
TIDY_EVERY = 256  # claims; some 4 MB of the journal's log


@dataclass(slots=True)
class _Held:
    """A claim of this process.

    Attributes:
        granted: by the store.
        until: when it ends there by itself, in seconds since 1970, if it is not renewed by then.
        state: whether the journal has it (or will, by the time that it does what it is asked for next), is to have
            it soon, or has nothing to do with it any more.
    """

    granted: bool = False
    until: float = math.inf
    state: Literal["fresh", "noted", "over"] = "fresh"


class LocalClaims:
    """The claims that the processes of this machine have, in the journal.

    While the store answers, it alone says who is next. What it granted is noted here a moment later, beside the
    turn, if that is not over by then. When the store stops answering, nobody claims anything here until that
    moment has passed for all, so that a turn that is being run is known to everybody.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._held: dict[tuple[str, str], _Held] = {}  # by session and turn
        self._fresh: deque[tuple[float, _Held, Callable[[], None]]] = deque()  # when each is to be noted, and how
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
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

    def was_not_renewed(self, session_id: str, turn_id: str) -> None:
        """Note that the store did not answer when a claim was to be renewed: if that ends, it is its doing."""
        held = self._held.get((session_id, turn_id))
        if held is not None and time.time() < held.until:
            held.until = math.inf

    def was_held_up(self, session_id: str) -> bool:
        """Whether this process stood still until its claim on a session had ended in the store.

        Then another turn may have taken the session over.
        """
        now = time.time()
        return any(held.until < now for (name, _), held in self._held.items() if name == session_id)

    def has(self, session_id: str, turn_id: str) -> bool:
        """Whether this process has a claim, here or in the store."""
        return (session_id, turn_id) in self._held

    async def claim(
        self,
        session_id: str,
        turn_id: str,
        note: bytes,
        *,
        seconds: float,
        instead: str | None = None,
        reads: ReadAhead | None = None,
    ) -> Grant:
        """Claim a session here; granted, too, where the journal cannot be used. Else as `Journal.claim`."""
        renews = self.has(session_id, turn_id)
        self._held.setdefault((session_id, turn_id), _Held()).state = "noted"
        try:
            grant = await self._journal.claim(
                session_id, turn_id, note, seconds=seconds, instead=instead, reads=reads
            )
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
        ends = time.time() + seconds
        known = self._held.get((session_id, turn_id))
        if known is not None:  # it is here already
            known.granted, known.until = True, ends
            return
        held = self._held[session_id, turn_id] = _Held(granted=True, until=ends)
        until = time.monotonic() + 2 * AGREED_AFTER

        def again() -> None:
            """One that stands in the way may be about to be given up for this one; see `agree`."""
            if held.state == "noted" and time.monotonic() < until:
                held.state = "fresh"
                self._note_soon(held, note_it)

        note_it = partial(self._journal.note_claim, session_id, turn_id, note, seconds=seconds, refused=again)
        self._note_soon(held, note_it)

    def _note_soon(self, held: _Held, note_it: Callable[[], None]) -> None:
        self._enter_loop()
        self._fresh.append((time.monotonic() + NOTED_AFTER, held, note_it))
        if self._timer is None:
            self._wait()

    def _enter_loop(self) -> None:
        """Start afresh in a new event loop: a timer belongs to the one that made it."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._timer = loop, None
            self._fresh.clear()

    def _wait(self) -> None:
        delay = max(self._fresh[0][0] - time.monotonic(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay, self._note_what_is_due)

    def _note_what_is_due(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._fresh and self._fresh[0][0] <= now:
            _, held, note_it = self._fresh.popleft()
            if held.state == "fresh":
                held.state = "noted"
                note_it()
        if self._fresh:
            self._wait()

    async def claimed(self, session_id: str) -> Claim | None:
        """The claim that a process of this machine has on a session."""
        if self._journal.exists:
            with suppress(StoreError):
                return await self._journal.claimed(session_id)
        return None

    async def release(self, session_id: str, turn_id: str) -> None:
        """Give up a claim of this process. One that cannot be given up ends by itself."""
        held = self._held.pop((session_id, turn_id), None)
        if held is None:
            return
        is_noted, held.state = held.state == "noted", "over"
        if is_noted:
            with suppress(StoreError):
                await self._journal.release(session_id, turn_id)
            self._tidy_beside()

    def ends(self, session_id: str, turn_id: str) -> None:
        """Have the claim of a turn that ends not be noted any more, if it is not yet."""
        held = self._held.get((session_id, turn_id))
        if held is not None and held.state == "fresh":
            held.state = "over"

    def given_up(self, session_id: str, turn_id: str) -> None:
        """Note that the claim of a turn that `ends` is in the journal no more, and need not be taken out there."""
        held = self._held.get((session_id, turn_id))
        if held is not None and held.state == "noted":
            held.state = "over"
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
        if self._timer is not None and self._loop is asyncio.get_running_loop():
            self._timer.cancel()
        self._timer = None
        self._fresh.clear()
        if self._tidying is not None and self._tidying.get_loop() is asyncio.get_running_loop():
            await asyncio.wait((self._tidying,))
