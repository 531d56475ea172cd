"""Keeping claims for as long as their turns run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Self

from ..session import InFlight

RENEW_SECONDS = 1.5

Step = Callable[[str, InFlight], Coroutine[Any, Any, None]]
"""Does something about the claim of a turn in a session."""


class Keeper:
    """Renews the claims that are kept, with one timer for them all: most turns are over before the first renewal.

    ``renew`` claims for longer, ``release`` gives up; neither raises because of the store.
    """

    def __init__(self, renew: Step, release: Step) -> None:
        self.renew = renew
        self.release = release
        self._kept: dict[str, Kept] = {}  # by holder
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def of(self, turn: InFlight) -> Kept | None:
        """The claim of a turn, if it is kept."""
        return self._kept.get(turn.holder)

    def begin(self, kept: Kept) -> None:
        """Renew a claim from now on."""
        self._kept[kept.turn.holder] = kept
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._timer is None:  # a timer belongs to the loop that made it
            self._loop = loop
            self._wait(loop)

    def end(self, kept: Kept) -> None:
        """Renew it no more."""
        del self._kept[kept.turn.holder]

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(RENEW_SECONDS / 2, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for kept in self._kept.values():
            kept.renew_if_due()
        if self._kept:
            self._wait(loop)


class Kept:
    """A claim that is kept while a block runs, then given up, unless that is done already (`is_over`)."""

    def __init__(self, keeper: Keeper, session_id: str, turn: InFlight) -> None:
        self.turn = turn
        self.is_over = False
        self._keeper = keeper
        self._session_id = session_id
        self._claimed_at = time.monotonic()
        self._context = copy_context()  # it says whose the session is; the timer knows that of one of them only
        self._renewal: asyncio.Task[None] | None = None
        self._stopped = False

    async def __aenter__(self) -> Self:
        self._keeper.begin(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeper.end(self)
        if not self.is_over:
            await asyncio.shield(self._give_up())

    async def _give_up(self) -> None:
        await self.stop()
        await self._keeper.release(self._session_id, self.turn)

    def renew_if_due(self) -> None:
        """Begin to claim for longer, half of the time before that has to be done."""
        now = time.monotonic()
        if self._stopped or now - self._claimed_at < RENEW_SECONDS / 2:
            return
        if self._renewal is None or self._renewal.done():
            self._claimed_at = now
            renewal = self._keeper.renew(self._session_id, self.turn)
            self._renewal = asyncio.create_task(renewal, context=self._context)

    async def stop(self) -> None:
        """Renew it no more. A renewal under way is waited for: one that came late would claim the session again."""
        self._stopped = True
        if self._renewal is not None:
            await asyncio.wait((self._renewal,))
