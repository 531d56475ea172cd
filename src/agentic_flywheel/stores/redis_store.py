"""Sessions in Redis, Valkey or anything that speaks like them; no module needed, 6.2 or newer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ..errors import Damaged
from ..session.times import seconds
from . import redis_layout as layout
from . import redis_scripts as scripts
from .base import Change, Claim, Grant, Listed, Mark, Record, Stored
from .names import name_of
from .redis_claims import TOO_LARGE, RedisClaims, Wanted, grant_of
from .redis_client import raise_translated
from .redis_heads import FIRST_LOOK, HeadSizes
from .redis_lane import Command
from .redis_lifetimes import Lifetimes
from .redis_pipe import Carrier
from .redis_reading import SessionReader
from .redis_records import RedisRecords, expiry
from .redis_upkeep import PAGE, RedisUpkeep
from .redis_writing import SessionWriter

log = logging.getLogger(__name__)


class RedisStore(RedisUpkeep):
    """Keeps each session as one JSON document that the server appends to; see `redis_layout`.

    ``clock`` is a monotonic one, in seconds. ``carrier`` is what brings commands to the server, if not what the URL
    asks for.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "agentic_flywheel",
        clock: Callable[[], float] = time.monotonic,
        carrier: Carrier | None = None,
    ) -> None:
        super().__init__(url, prefix=prefix, carrier=carrier)
        lifetimes = Lifetimes(clock)
        heads = HeadSizes()
        self._reader = SessionReader(self._pipe, self._keys, lifetimes, heads)
        self._records = RedisRecords(self._pipe, self._keys)
        self._claims = RedisClaims(self._pipe, self._keys)
        self._writer = SessionWriter(
            self._pipe, self._keys, self._records, self._placer, lifetimes, heads, self.sweeper
        )

    def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Coroutine[Any, Any, Stored | None]:
        return self._reader.read(session_id, last, after, touch=touch)

    def write(self, change: Change, *, limit: int) -> Coroutine[Any, Any, Mark]:
        return self._writer.write(change, limit)

    async def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> bool:
        noted: Command = ("SET", self._keys.tombstone(session_id), deleted_at, *expiry(ttl))
        deleted: Command = ("DEL", self._keys.session(session_id))
        unlisted = self._index.remove(session_id)
        answers = await self._pipe.steps([noted], [deleted, unlisted])
        return bool([raise_translated(answer) for answer in answers][1])

    async def recent(self, limit: int, owner: str = "") -> list[Listed]:
        await self._placer.place()
        found: list[Listed] = []
        place = 0
        while len(found) < limit:
            members = await self._pipe.one(*self._index.page(owner, place, PAGE))
            if not members:
                break
            listed, gone = await self._listed([name_of(owner, member.decode()) for member in members])
            found += listed
            if gone:  # expired, or removed by others: the index mends itself
                await self._pipe.one(*self._index.remove(*gone))
            place += len(members) - len(gone)
        found.sort(key=lambda listed: seconds(listed.last_active), reverse=True)  # the index is exact to a second
        return found[:limit]

    async def count(self, owner: str, enough: int) -> int:
        number: int = await self._pipe.one("ZCARD", self._index.key(owner))
        if number >= enough:  # what has expired is still in the index
            number -= await self.sweeper.sweep(owner, await self._pipe.one(*self._index.page(owner, 0, number)))
        return number

    async def _listed(self, session_ids: list[str]) -> tuple[list[Listed], list[str]]:
        """Those that are there, and the ids of those that are not."""
        keys = [self._keys.session(session_id) for session_id in session_ids]
        answers = await self._pipe.run(
            [command for key in keys for command in (("GETRANGE", key, 0, FIRST_LOOK - 1), ("STRLEN", key))]
        )
        listed, gone = [], []
        for session_id, start, size in zip(session_ids, answers[::2], answers[1::2], strict=True):
            if start == b"":
                gone.append(session_id)
                continue
            try:
                stored = await self._without_turns(session_id, raise_translated(start))
            except Damaged:
                continue
            if stored is not None:
                listed.append(Listed(session_id, stored.head, stored.last_active, stored.mark.total, size))
        return listed, gone

    async def _without_turns(self, session_id: str, start: bytes) -> Stored | None:
        if layout.holds_head(start):
            return layout.parse_tail(start, b"")
        return await self.read(session_id, last=0, touch=False)

    async def put(self, records: Sequence[Record]) -> bool:
        return await self._records.put(records)

    async def execution(self, execution_id: str) -> bytes | None:
        return await self._records.execution(execution_id)

    async def share(self, name: str) -> bytes | None:
        return await self._records.share(name)

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        return await self._records.entries(session_id, flow_id)

    def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Coroutine[Any, Any, Grant]:
        return self._claims.claim(Wanted(session_id, turn_id, note, seconds, instead))

    async def claim_and_read(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, last: int | None = None
    ) -> tuple[Grant, Stored | None]:
        wanted = Wanted(session_id, turn_id, note, seconds)
        # A whole session is not read at once, and a large claim not made by a script.
        if last is None or wanted.is_large:
            return await super().claim_and_read(session_id, turn_id, note, seconds=seconds, last=last)
        answer, stored = await self._reader.read_behind(self._claims.command(wanted), session_id, last)
        if answer == TOO_LARGE:  # what was read may be older than the claim
            return await super().claim_and_read(session_id, turn_id, note, seconds=seconds, last=last)
        return grant_of(answer), stored

    async def fence(self, session_id: str, fence: int) -> None:
        await self._pipe.one(*scripts.FENCE.on(self._keys.session(session_id), fence))

    def claimed(self, session_id: str) -> Coroutine[Any, Any, Claim | None]:
        return self._claims.claimed(session_id)

    def release(self, session_id: str, turn_id: str) -> Coroutine[Any, Any, None]:
        return self._claims.release(session_id, turn_id)
