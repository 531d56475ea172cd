"""The index of sessions by their last use, for listings."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from contextvars import Context

from ..errors import StoreError
from ..recent import Recent
from ..session.times import seconds
from .names import id_of, parts_of
from .redis_lane import Command
from .redis_pipe import Carrier

log = logging.getLogger(__name__)

TO_THE_SECOND = len("2025-11-18T10:00:00")
LATE_SECONDS = 0.05


class Index:
    """A sorted set for each owner, each session's score the moment of its last use in seconds.

    A session that is written several times within a second is put in its place once: the score may be behind
    by less than a second. See `Placer`.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._places: Recent[str] = Recent()
        self.waiting: dict[str, str | None] = {}
        """Sessions that are to be put in their places, and the moments of their last use."""

    def lags(self, session_id: str, last_active: str | None) -> bool:
        """Whether a session used at this moment has to be put in its place."""
        return last_active is None or self._places.get(session_id) != last_active[:TO_THE_SECOND]

    def put(self, session_id: str, last_active: str | None) -> Command:
        """What puts a session in its place."""
        (command,) = self.put_all({session_id: last_active})
        return command

    def put_all(self, used: Mapping[str, str | None]) -> list[Command]:
        """What puts many sessions in their places: a command for each owner."""
        members: defaultdict[str, list[str]] = defaultdict(list)
        for session_id, last_active in used.items():
            owner, plain = parts_of(session_id)
            members[owner] += [str(seconds(last_active)), plain]
        return [("ZADD", self.key(owner), *each) for owner, each in members.items()]

    def was_put(self, session_id: str, last_active: str | None) -> None:
        """Note that a session is in its place, or will be in a moment."""
        self._places.put(session_id, (last_active or "")[:TO_THE_SECOND])

    def was_not_put(self, session_id: str) -> None:
        """Note that nobody knows where a session is."""
        self._places.drop(session_id)

    def remove(self, *session_ids: str) -> Command:
        """What takes sessions out, all of one owner."""
        for session_id in session_ids:
            self._places.drop(session_id)
            self.waiting.pop(session_id, None)
        owner, _ = parts_of(session_ids[0])
        return ("ZREM", self.key(owner), *map(id_of, session_ids))

    def page(self, owner: str, first: int, count: int) -> Command:
        """What reads the ids of so many sessions of an owner, used last first, from a place on."""
        return ("ZREVRANGE", self.key(owner), first, first + count - 1)

    def key(self, owner: str) -> str:
        """Where the set of an owner is."""
        return f"{self._key}:{owner}" if owner else self._key


class Placer:
    """Puts sessions that were used in their places a moment later, many at once, so that no save waits for that.

    A process that dies within that moment leaves them where they were until they are used again.
    """

    def __init__(self, pipe: Carrier, index: Index) -> None:
        self.index = index
        self._pipe = pipe
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._placing: asyncio.Task[None] | None = None

    def used(self, session_id: str, last_active: str | None) -> None:
        """Have a session be put in its place; never waits, never raises."""
        if not self.index.lags(session_id, last_active):
            return
        self.index.was_put(session_id, last_active)
        self.index.waiting[session_id] = last_active
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:  # a timer belongs to the loop that made it
            self._loop, self._timer = loop, loop.call_later(LATE_SECONDS, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._placing = asyncio.create_task(self.place(), context=Context())

    async def place(self) -> None:
        """Put those that wait in their places now; never raises for the store."""
        used = dict(self.index.waiting)
        self.index.waiting.clear()
        try:
            if used:
                await self._pipe.all(self.index.put_all(used))
        except StoreError as error:
            log.debug("sessions are listed as if they had not been used: %s", type(error).__name__)
            for session_id in used:
                self.index.was_not_put(session_id)

    async def close(self) -> None:
        """Put those that wait in their places, and stop."""
        here = asyncio.get_running_loop()
        if self._timer is not None and self._loop is here:
            self._timer.cancel()
        self._timer = None
        if self._placing is not None and self._placing.get_loop() is here:
            await asyncio.wait((self._placing,))
        await self.place()
