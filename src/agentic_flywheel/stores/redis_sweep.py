"""Taking sessions that have expired out of the index: Redis removes what expires, and not what names it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context

from ..errors import StoreError
from .names import name_of
from .redis_index import Index
from .redis_keys import Keys
from .redis_pipe import Carrier

log = logging.getLogger(__name__)

AT_ONCE = 1000  # sessions that are looked for in one pipeline
EVERY = 64  # new sessions of a process
SAMPLE = 64  # sessions that are looked for then
MANY = SAMPLE // 4  # of a sample: there are more where these were
MOST_SAMPLES = 100  # at a time


class Sweeper:
    """Keeps the index of what is in one Redis from naming what is gone.

    A listing takes out what it comes across, and that is the last to be listed. So now and then, beside the caller
    who begins a session, some of its owner's are looked for at random, and more while a quarter of them is gone.
    That keeps what is gone to about a quarter of an index, for one small command for each new session.
    """

    def __init__(self, pipe: Carrier, keys: Keys, index: Index) -> None:
        self._pipe = pipe
        self._keys = keys
        self._index = index
        self._created = 0
        self._sweeping: asyncio.Task[None] | None = None

    def created(self, owner: str) -> None:
        """Note that a session of an owner was begun; never waits, never raises."""
        self._created += 1
        if self._created % EVERY == 0 and not self._is_sweeping():
            self._sweeping = asyncio.create_task(self._sweep_some(owner), context=Context())

    def _is_sweeping(self) -> bool:
        task = self._sweeping
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    async def _sweep_some(self, owner: str) -> None:
        try:
            for _ in range(MOST_SAMPLES):
                if await self.sample(owner) < MANY:
                    return
        except StoreError as error:
            log.info("what has expired stays in the index for now: %s", error)

    async def sample(self, owner: str) -> int:
        """Take those that are gone of some sessions of an owner out of the index; how many there were.

        Raises:
            StoreError: it cannot be done now.
        """
        return await self.sweep(owner, await self._pipe.one("ZRANDMEMBER", self._index.key(owner), SAMPLE))

    async def close(self) -> None:
        """Look for no more."""
        if self._sweeping is not None and self._is_sweeping():
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])

    async def sweep(self, owner: str, members: Sequence[bytes]) -> int:
        """Take those of an owner's sessions that are gone out of the index; how many there were.

        Each is looked for by itself: in a cluster they are on several servers.
        """
        gone: list[str] = []
        for first in range(0, len(members), AT_ONCE):
            names = [name_of(owner, member.decode()) for member in members[first : first + AT_ONCE]]
            there = await self._pipe.all([("EXISTS", self._keys.session(name)) for name in names])
            gone += [name for name, found in zip(names, there, strict=True) if not found]
        if gone:
            await self._pipe.one(*self._index.remove(*gone))
        return len(gone)
