"""Sessions as rows: statements on an open connection, each function inside of a transaction of its caller.

A session's turns are found by the number of its row, ``key``, which is small where an id may have 256
characters. ``now`` is in seconds since 1970; what has expired by then is absent.
"""

from __future__ import annotations

import sqlite3

from msgspec import Struct
from msgspec.structs import replace

from ..errors import Damaged
from ..session.times import seconds
from .base import ASIDE_SECONDS, Change, Listed, Mark, Stored
from .names import id_of, parts_of
from .writing import (
    first_wanted,
    is_append,
    new_lines,
    next_mark,
    readable,
    refuse_deleted,
    refuse_fenced,
    refuse_too_large,
    size_of,
)


class Row(Struct, frozen=True):
    """What is in a session's row; ``size`` counts the bytes of its turns."""

    key: int
    mark: Mark
    size: int
    last_active: str | None
    fence: int = 0


def find(db: sqlite3.Connection, session_id: str, now: float) -> Row | None:
    """The session's row, or None if it is absent."""
    found = db.execute(
        "SELECT key, version, epoch, revision, total, size, last_active, fence FROM sessions"
        " WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)",
        (session_id, now),
    ).fetchone()
    if found is None:
        return None
    key, version, epoch, revision, total, *others = found
    return Row(key, Mark(version, epoch, revision, total), *others)


def read(db: sqlite3.Connection, session_id: str, last: int | None, after: int | None, now: float) -> Stored | None:
    """The session with the turns that are wanted; O(those turns).

    Raises:
        Damaged: turns or the head are missing.
    """
    row = find(db, session_id, now)
    if row is None:
        return None
    start = first_wanted(row.mark.total, last, after)
    head = db.execute("SELECT head FROM heads WHERE session = ?", (row.key,)).fetchone()
    turns = db.execute("SELECT line FROM turns WHERE session = ? AND seq >= ? ORDER BY seq", (row.key, start))
    lines = [line for (line,) in turns]
    if head is None or len(lines) != row.mark.total - start:
        raise Damaged(f"session {id_of(session_id)!r} lacks its head or some of its turns")
    return Stored(row.mark, head[0], row.last_active, lines, start)


def remains(db: sqlite3.Connection, session_id: str, now: float) -> bytes | None:
    """The document of what is there of a session, also where some of it is missing; None if it is absent."""
    row = find(db, session_id, now)
    if row is None:
        return None
    head = db.execute("SELECT head FROM heads WHERE session = ?", (row.key,)).fetchone()
    turns = db.execute("SELECT line FROM turns WHERE session = ? ORDER BY seq", (row.key,))
    return readable(head[0] if head else b"{}", row.last_active, [line for (line,) in turns])


def set_aside(db: sqlite3.Connection, session_id: str, raw: bytes, now: float) -> str | None:
    """See `Store.set_aside`."""
    if remains(db, session_id, now) != raw:
        return None
    remove(db, session_id)
    db.execute("DELETE FROM aside WHERE expires_at <= ?", (now,))
    done = db.execute(
        "INSERT INTO aside (session_id, raw, expires_at) VALUES (?, ?, ?)", (session_id, raw, now + ASIDE_SECONDS)
    )
    return _where_aside(done.lastrowid)


def aside(db: sqlite3.Connection, session_id: str) -> dict[str, bytes]:
    """See `Store.aside`."""
    rows = db.execute("SELECT place, raw FROM aside WHERE session_id = ? ORDER BY place", (session_id,))
    return {_where_aside(place): raw for place, raw in rows}


def _where_aside(place: int | None) -> str:
    return f"row {place} of the table aside"


def touch(db: sqlite3.Connection, session_id: str, now: float) -> None:
    """Start the session's time to live again."""
    db.execute("UPDATE sessions SET expires_at = ? + ttl WHERE id = ? AND expires_at > ?", (now, session_id, now))


def write(db: sqlite3.Connection, change: Change, limit: int, now: float) -> Mark:
    """Make the change, unless it was made before; O(new bytes), but for a whole history.

    Raises:
        Conflict, Deleted, TooLarge: see `Store.write`.
    """
    row = find(db, change.session_id, now)
    if row is not None and row.mark.version == change.version:
        return row.mark
    mark = next_mark(change, row.mark if row else None)
    refuse_deleted(change, deleted_at(db, change.session_id, now))
    fence = refuse_fenced(change, row.fence if row else 0)
    size = size_of(new_lines(change)) + (row.size if row and is_append(change) else 0)
    refuse_too_large(change.session_id, len(change.head) + size, limit)
    mark = replace(mark, size=len(change.head) + size)
    if row is None:
        remove(db, change.session_id)  # it may have expired and not been swept yet
    key = _put_row(db, change, Row(row.key if row else 0, mark, size, change.last_active, fence), now)
    if row is None or change.head != change.base_head:
        db.execute("INSERT OR REPLACE INTO heads VALUES (?, ?)", (key, change.head))
    _put_turns(db, key, change, mark)
    return mark


def _put_row(db: sqlite3.Connection, change: Change, row: Row, now: float) -> int:
    """Insert the session's row, or update it where it has a key; the key."""
    mark = row.mark
    ends = now + change.ttl if change.ttl else None
    state = (mark.version, mark.epoch, mark.revision, mark.total, row.size, row.fence)
    times = (row.last_active, seconds(row.last_active), change.ttl, ends)
    if row.key:
        db.execute(
            "UPDATE sessions SET version = ?, epoch = ?, revision = ?, total = ?, size = ?, fence = ?,"
            " last_active = ?, active = ?, ttl = ?, expires_at = ? WHERE key = ?",
            (*state, *times, row.key),
        )
        return row.key
    inserted = db.execute(
        "INSERT INTO sessions"
        " (id, owner, version, epoch, revision, total, size, fence, last_active, active, ttl, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING key",
        (change.session_id, parts_of(change.session_id)[0], *state, *times),
    )
    (key,) = inserted.fetchone()
    return int(key)


def _put_turns(db: sqlite3.Connection, key: int, change: Change, mark: Mark) -> None:
    lines = new_lines(change)
    if not is_append(change):
        db.execute("DELETE FROM turns WHERE session = ?", (key,))
    start = mark.total - len(lines)
    db.executemany(
        "INSERT INTO turns VALUES (?, ?, ?)", [(key, seq, line) for seq, line in enumerate(lines, start)]
    )


def fence(db: sqlite3.Connection, session_id: str, fence: int) -> None:
    """See `Store.fence`."""
    db.execute("UPDATE sessions SET fence = ? WHERE id = ? AND fence < ?", (fence, session_id, fence))


def remove(db: sqlite3.Connection, session_id: str) -> None:
    """Remove the session with all its turns; O(turns)."""
    found = db.execute("SELECT key FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if found is not None:
        db.execute("DELETE FROM turns WHERE session = ?", found)
        db.execute("DELETE FROM heads WHERE session = ?", found)
        db.execute("DELETE FROM sessions WHERE key = ?", found)


def sweep(db: sqlite3.Connection, now: float, most: int) -> None:
    """Remove sessions that have expired, the longest gone first, and notes of deletions that have."""
    expired = db.execute("SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?", (now, most))
    for (session_id,) in expired.fetchall():
        remove(db, session_id)
    db.execute(
        "DELETE FROM tombstones WHERE rowid IN (SELECT rowid FROM tombstones WHERE expires_at <= ? LIMIT ?)",
        (now, most),
    )


def bury(db: sqlite3.Connection, session_id: str, moment: str, ends: float | None) -> None:
    """Note that the session was deleted, and until when to remember it."""
    db.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", (session_id, moment, ends))


def deleted_at(db: sqlite3.Connection, session_id: str, now: float) -> str | None:
    """When the session was deleted, as far as that is remembered."""
    found = db.execute(
        "SELECT deleted_at FROM tombstones WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)",
        (session_id, now),
    ).fetchone()
    return found[0] if found else None


def recent(db: sqlite3.Connection, limit: int, owner: str, now: float) -> list[Listed]:
    """The sessions of an owner used last, newest first, without reading a turn."""
    rows = db.execute(
        "SELECT id, head, last_active, total, size + length(head)"
        " FROM sessions JOIN heads ON heads.session = sessions.key"
        " WHERE owner = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY active DESC, id DESC LIMIT ?",
        (owner, now, limit),
    )
    return [Listed(*row) for row in rows]


def count(db: sqlite3.Connection, now: float) -> int:
    """How many sessions there are."""
    rows = db.execute("SELECT count(*) FROM sessions WHERE expires_at IS NULL OR expires_at > ?", (now,))
    (number,) = rows.fetchone()
    return int(number)
