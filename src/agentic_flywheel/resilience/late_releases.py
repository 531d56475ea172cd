"""Claims that could not be given up, since the store was away just then."""

from __future__ import annotations

import asyncio
from contextvars import Context

from ..errors import StoreError
from ..stores import Store

PAUSE = 0.2  # seconds between two tries
TRIES = 30  # a claim that lasts longer than all of them has ended by itself


class LateReleases:
    """Gives claims up as soon as the store answers again; else the next turn would wait for their end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, session_id: str, turn_id: str) -> None:
        """Give up a claim later, beside the caller."""
        task = asyncio.create_task(self._release(session_id, turn_id), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release(self, session_id: str, turn_id: str) -> None:
        for _ in range(TRIES):
            await asyncio.sleep(PAUSE)
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
