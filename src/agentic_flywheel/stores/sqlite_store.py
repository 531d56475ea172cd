"""Sessions in one SQLite file: the embedded default, for all processes of a user on one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from os import PathLike
from pathlib import Path

from . import sqlite_claims as claims
from . import sqlite_owners as owners
from . import sqlite_records as records
from . import sqlite_sessions as sessions
from .base import Change, Claim, Grant, Kind, Listed, Mark, Record, Store, Stored
from .sqlite_file import BUSY_SECONDS, SqliteFile
from .sqlite_schema import prepare
from .sqlite_transaction import reading, writing

PAGE = 200
SWEPT = 8  # of each kind that has expired, with each write


class SqliteStore(Store):
    """Keeps sessions as rows of one file, which several processes may use at once.

    The file is in WAL mode with ``synchronous = NORMAL``. A write that was acknowledged survives the death of
    this process, or of any other, at any instant. A power loss may cost the last moments before it, but
    never the file.

    ``clock`` gives seconds since 1970; what expires is measured by it. ``busy_seconds`` is how long a call
    waits for another process before it is `Unavailable`.
    """

    name = "sqlite"

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._file = SqliteFile(Path(path), prepare, busy_seconds=busy_seconds)
        self._clock = clock
        self.where = str(path)

    async def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Stored | None:
        return await self._file.call(lambda db: self._read(db, session_id, last, after, touch=touch))

    def _read(
        self, db: sqlite3.Connection, session_id: str, last: int | None, after: int | None, *, touch: bool
    ) -> Stored | None:
        now = self._clock()
        with reading(db):
            stored = sessions.read(db, session_id, last, after, now)
        if stored is not None and touch:  # apart, so that no writer waits while a long history is read
            sessions.touch(db, session_id, now)
        return stored

    async def write(self, change: Change, *, limit: int) -> Mark:
        def work(db: sqlite3.Connection) -> Mark:
            with writing(db):
                now = self._clock()
                mark = sessions.write(db, change, limit, now)
                _put(db, change.records, now)
                if change.releases is not None:
                    claims.release(db, change.session_id, change.releases)
                return mark

        return await self._file.call(work)

    async def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            with writing(db):
                now = self._clock()
                there = sessions.find(db, session_id, now) is not None
                sessions.bury(db, session_id, deleted_at, now + ttl if ttl else None)
                sessions.remove(db, session_id)
                return there

        return await self._file.call(work)

    async def recent(self, limit: int, owner: str = "") -> list[Listed]:
        return await self._file.call(lambda db: sessions.recent(db, limit, owner, self._clock()))

    async def count(self, owner: str, enough: int) -> int:
        return await self._file.call(lambda db: owners.count(db, owner, self._clock()))

    async def put(self, records: Sequence[Record]) -> bool:
        def work(db: sqlite3.Connection) -> None:
            with writing(db):
                _put(db, records, self._clock())

        await self._file.call(work)
        return True

    async def execution(self, execution_id: str) -> bytes | None:
        return await self._file.call(lambda db: records.execution(db, execution_id, self._clock()))

    async def share(self, name: str) -> bytes | None:
        return await self._file.call(lambda db: owners.share(db, name, self._clock()))

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        return await self._file.call(lambda db: records.entries(db, session_id, flow_id, self._clock()))

    async def names(self, kind: Kind) -> AsyncIterator[tuple[str, ...]]:
        page = [_BEFORE_ALL[kind]]
        while page:  # a page at a time: nothing stays open while the caller works on it
            page = await self._page(kind, page[-1])
            for name in page:
                yield name

    async def _page(self, kind: Kind, after: tuple[str, ...]) -> list[tuple[str, ...]]:
        bounds = (*after, self._clock(), PAGE)
        return await self._file.call(lambda db: db.execute(_PAGES[kind], bounds).fetchall())

    async def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Grant:
        return await self._file.call(lambda db: self._claim(db, session_id, turn_id, note, seconds, instead))

    async def claim_and_read(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, last: int | None = None
    ) -> tuple[Grant, Stored | None]:
        def work(db: sqlite3.Connection) -> tuple[Grant, Stored | None]:
            grant = self._claim(db, session_id, turn_id, note, seconds, touch=True)
            return grant, None if grant.stands else self._read(db, session_id, last, None, touch=False)

        return await self._file.call(work)

    def _claim(
        self,
        db: sqlite3.Connection,
        session_id: str,
        turn_id: str,
        note: bytes,
        seconds: float,
        instead: str | None = None,
        *,
        touch: bool = False,
    ) -> Grant:
        with writing(db):
            now = self._clock()
            grant = claims.claim(db, Claim(turn_id, note, now + seconds), session_id, instead, now)
            if touch and not grant.stands:
                sessions.touch(db, session_id, now)
            return grant

    async def fence(self, session_id: str, fence: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            with writing(db):
                sessions.fence(db, session_id, fence)

        await self._file.call(work)

    async def claimed(self, session_id: str) -> Claim | None:
        return await self._file.call(lambda db: claims.claimed(db, session_id, self._clock()))

    async def release(self, session_id: str, turn_id: str) -> None:
        await self._file.call(lambda db: claims.release(db, session_id, turn_id))

    async def raw(self, session_id: str) -> bytes | None:
        def work(db: sqlite3.Connection) -> bytes | None:
            with reading(db):
                return sessions.remains(db, session_id, self._clock())

        return await self._file.call(work)

    async def set_aside(self, session_id: str, raw: bytes) -> str | None:
        def work(db: sqlite3.Connection) -> str | None:
            with writing(db):
                return sessions.set_aside(db, session_id, raw, self._clock())

        return await self._file.call(work)

    async def aside(self, session_id: str) -> dict[str, bytes]:
        return await self._file.call(lambda db: sessions.aside(db, session_id))

    async def reindex(self) -> int:
        return await self._file.call(lambda db: sessions.count(db, self._clock()))

    async def erase(self, owner: str) -> int:
        def work(db: sqlite3.Connection) -> int:
            with writing(db):
                erased = owners.erase(db, owner)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the log still has what was there
            return erased

        return await self._file.call(work)

    async def check(self) -> dict[str, object]:
        def work(db: sqlite3.Connection) -> dict[str, object]:
            with writing(db):  # whether it can be written is what a doctor wants to know
                number = sessions.count(db, self._clock())
            size = self._file.path.stat().st_size
            return {"sqlite_version": sqlite3.sqlite_version, "sessions": number, "file_bytes": size}

        return await self._file.call(work)

    async def close(self) -> None:
        await self._file.close()


def _put(db: sqlite3.Connection, new: Sequence[Record], now: float) -> None:
    for record in new:
        put = owners.put_share if record.kind == "share" else records.put
        put(db, record, now)
    sessions.sweep(db, now, SWEPT)
    records.sweep(db, now, SWEPT)


_PAGES: dict[Kind, str] = {
    "session": "SELECT id FROM sessions"
    " WHERE id > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY id LIMIT ?",
    "execution": "SELECT id FROM executions"
    " WHERE id > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY id LIMIT ?",
    "history": "SELECT session_id, flow_id FROM histories"
    " WHERE (session_id, flow_id) > (?, ?) AND (expires_at IS NULL OR expires_at > ?)"
    " ORDER BY session_id, flow_id LIMIT ?",
    "share": "SELECT id FROM shares WHERE id > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY id LIMIT ?",
}
_BEFORE_ALL: dict[Kind, tuple[str, ...]] = {
    "session": ("",),
    "execution": ("",),
    "history": ("", ""),
    "share": ("",),
}
