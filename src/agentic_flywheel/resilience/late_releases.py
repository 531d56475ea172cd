"""Claims that could not be given up, since the store was away just then."""

from __future__ import annotations

import asyncio
from contextvars import Context

from ..errors import StoreError
from ..stores import Store

FIRST_PAUSE = 0.2  # seconds between two tries
LONGEST_PAUSE = 1.0


class LateReleases:
    """Gives claims up as soon as the store answers again; else the next turn would wait for their end.

    A store that hung may grant a claim only then: long after whoever wanted it went without.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()
        self._unheard: set[tuple[str, str]] = set()

    def expect(self, session_id: str, turn_id: str) -> None:
        """Note that a claim was asked for and not answered: it may be granted yet."""
        self._unheard.add((session_id, turn_id))

    def expects(self, session_id: str, turn_id: str) -> bool:
        """Whether a claim may be granted yet."""
        return (session_id, turn_id) in self._unheard

    def forget(self, session_id: str, turn_id: str) -> None:
        """Expect a claim no more: it is given up, here or later."""
        self._unheard.discard((session_id, turn_id))

    def add(self, session_id: str, turn_id: str) -> None:
        """Give up a claim later, beside the caller."""
        task = asyncio.create_task(self._release(session_id, turn_id), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release(self, session_id: str, turn_id: str) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await self._store.release(session_id, turn_id)
            except StoreError:
                continue
            return

    async def close(self) -> None:
        """Try no more."""
        here = asyncio.get_running_loop()
        tasks = {task for task in self._tasks if task.get_loop() is here}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
