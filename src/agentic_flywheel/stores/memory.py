"""Sessions in the memory of this process: gone when it ends, with the same rules as everywhere else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from ..session.times import seconds
from .base import ASIDE_SECONDS, Change, Claim, Grant, Kind, Listed, Mark, Record, Store, Stored
from .names import parts_of
from .writing import (
    first_wanted,
    is_append,
    new_lines,
    next_fence,
    next_mark,
    readable,
    refuse_deleted,
    refuse_fenced,
    refuse_too_large,
    size_of,
)

Clock = Callable[[], float]
Name = tuple[str, ...]
T = TypeVar("T")

CLAIM_KEPT_SECONDS = 7 * 24 * 3600
TIDY_EVERY = 256  # writes; looking for what has expired costs a walk over everything


class MemoryStore(Store):
    """Keeps everything in dicts. ``clock`` gives seconds since 1970; what expires is measured by it."""

    name = "memory"
    where = "the memory of this process"

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._claims: dict[str, Claim] = {}
        self._sessions: _Shelf[_Session] = _Shelf(clock)
        self._executions: _Shelf[bytes] = _Shelf(clock)
        self._histories: _Shelf[dict[str, bytes]] = _Shelf(clock)
        self._shares: _Shelf[bytes] = _Shelf(clock)
        self._aside: _Shelf[dict[str, bytes]] = _Shelf(clock)
        self._deletions: _Shelf[str] = _Shelf(clock)
        self._writes = 0

    async def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Stored | None:
        session = self._sessions.get((session_id,))
        if session is None:
            return None
        if touch:
            self._sessions.put((session_id,), session, session.ttl)
        start = first_wanted(session.mark.total, last, after)
        return Stored(session.mark, session.head, session.last_active, session.lines[start:], start)

    async def write(self, change: Change, *, limit: int) -> Mark:
        self._tidy_now_and_then()
        session = self._sessions.get((change.session_id,))
        if session is None or session.mark.version != change.version:
            session = self._changed(change, session, limit)
            self._sessions.put((change.session_id,), session, session.ttl)
        await self.put(change.records)
        if change.releases is not None:
            await self.release(change.session_id, change.releases)
        return session.mark

    def _changed(self, change: Change, found: _Session | None, limit: int) -> _Session:
        mark = next_mark(change, found.mark if found else None)
        refuse_deleted(change, self._deletions.get((change.session_id,)))
        fence = refuse_fenced(change, found.fence if found else 0)
        kept = found if found and is_append(change) else _Session()
        added = new_lines(change)
        size = kept.size + size_of(added)
        refuse_too_large(change.session_id, len(change.head) + size, limit)
        mark = replace(mark, size=len(change.head) + size)
        kept.lines.extend(added)  # in place: an append must not copy what is there; readers hold copies
        kept = replace(kept, head=change.head, last_active=change.last_active, ttl=change.ttl)
        return replace(kept, mark=mark, size=size, fence=fence)

    async def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> bool:
        self._deletions.put((session_id,), deleted_at, ttl)
        return self._sessions.drop((session_id,))

    async def recent(self, limit: int, owner: str = "") -> list[Listed]:
        found = [(seconds(session.last_active), name, session) for name, session in self._sessions_of(owner)]
        found.sort(key=lambda item: item[:2], reverse=True)
        return [
            Listed(session_id, session.head, session.last_active, session.mark.total, session.size)
            for _, (session_id,), session in found[:limit]
        ]

    def _sessions_of(self, owner: str) -> list[tuple[Name, _Session]]:
        return [item for item in self._sessions.items() if parts_of(item[0][0])[0] == owner]

    async def count(self, owner: str, enough: int) -> int:
        return len(self._sessions_of(owner))

    async def put(self, records: Sequence[Record]) -> bool:
        for record in records:
            if record.kind != "history":
                shelf = self._executions if record.kind == "execution" else self._shares
                shelf.put((record.id,), record.data, record.ttl)
            else:
                name = (record.session_id, record.flow_id)
                entries = self._histories.get(name) or {}
                entries[record.id] = record.data  # an id that is there keeps its place
                self._histories.put(name, entries, record.ttl)
        return True

    async def execution(self, execution_id: str) -> bytes | None:
        return self._executions.get((execution_id,))

    async def share(self, name: str) -> bytes | None:
        return self._shares.get((name,)) or None

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        return list((self._histories.get((session_id, flow_id)) or {}).values())

    async def names(self, kind: Kind) -> AsyncIterator[Name]:
        shelves: dict[Kind, _Shelf[_Session] | _Shelf[bytes] | _Shelf[dict[str, bytes]]] = {
            "session": self._sessions,
            "execution": self._executions,
            "history": self._histories,
            "share": self._shares,
        }
        for name, _ in shelves[kind].items():
            yield name

    async def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Grant:
        found, now = await self.claimed(session_id), self._clock()
        if found is not None and found.turn_id not in (turn_id, instead) and not found.ended:
            return Grant(0, found)
        fence = next_fence(found, turn_id, now)
        self._claims[session_id] = Claim(turn_id, note, now + seconds, fence=fence)
        return Grant(fence, replace(found, ended=True) if found and found.turn_id != turn_id else None)

    async def fence(self, session_id: str, fence: int) -> None:
        session = self._sessions.get((session_id,))
        if session is not None and session.fence < fence:
            self._sessions.put((session_id,), replace(session, fence=fence), session.ttl)

    async def claimed(self, session_id: str) -> Claim | None:
        found, now = self._claims.get(session_id), self._clock()
        if found is None or found.until <= now - CLAIM_KEPT_SECONDS:
            return None
        return replace(found, ended=found.until <= now)

    async def release(self, session_id: str, turn_id: str) -> None:
        found = self._claims.get(session_id)
        if found is not None and found.turn_id == turn_id:
            del self._claims[session_id]

    async def raw(self, session_id: str) -> bytes | None:
        session = self._sessions.get((session_id,))
        return readable(session.head, session.last_active, session.lines) if session else None

    async def set_aside(self, session_id: str, raw: bytes) -> str | None:
        if raw != await self.raw(session_id):
            return None
        self._sessions.drop((session_id,))
        kept = self._aside.get((session_id,)) or {}
        where = f"{session_id} {len(kept) + 1}"
        self._aside.put((session_id,), {**kept, where: raw}, ASIDE_SECONDS)
        return where

    async def aside(self, session_id: str) -> dict[str, bytes]:
        return dict(self._aside.get((session_id,)) or {})

    async def reindex(self) -> int:
        return len(self._sessions.items())

    async def erase(self, owner: str) -> int:
        erased = 0
        for shelf in (self._sessions, self._executions, self._histories, self._shares, self._aside):
            for name, value in shelf.items():
                if parts_of(name[0])[0] == owner or (shelf is self._shares and value == owner.encode()):
                    shelf.drop(name)
                    erased += 1
        return erased

    async def check(self) -> dict[str, object]:
        return {"sessions": len(self._sessions.items())}

    async def close(self) -> None:
        """Nothing to let go of: what is stored stays for as long as the store object does."""

    def _tidy_now_and_then(self) -> None:
        self._writes += 1
        if self._writes % TIDY_EVERY == 0:
            for shelf in (self._sessions, self._executions, self._histories, self._aside, self._deletions):
                shelf.tidy()
            self._shares.tidy()


_NOTHING = Mark("", "", 0, 0)


class _Session(Struct, frozen=True):
    mark: Mark = _NOTHING
    head: bytes = b""
    last_active: str | None = None
    lines: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes of the lines
    ttl: int = 0
    fence: int = 0


class _Shelf(Generic[T]):
    """Values by name, each for as long as it was put there for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[Name, tuple[T, float | None]] = {}

    def put(self, name: Name, value: T, ttl: int) -> None:
        """Keep a value for ``ttl`` seconds from now, 0 for ever."""
        self._values[name] = (value, self._clock() + ttl if ttl else None)

    def get(self, name: Name) -> T | None:
        value, ends = self._values.get(name, (None, None))
        return value if ends is None or ends > self._clock() else None

    def drop(self, name: Name) -> bool:
        """Remove a value; whether there was one that had not expired."""
        there = self.get(name) is not None
        self._values.pop(name, None)
        return there

    def items(self) -> list[tuple[Name, T]]:
        self.tidy()
        return [(name, value) for name, (value, _) in self._values.items()]

    def tidy(self) -> None:
        """Forget what has expired."""
        now = self._clock()
        self._values = {name: kept for name, kept in self._values.items() if kept[1] is None or kept[1] > now}
