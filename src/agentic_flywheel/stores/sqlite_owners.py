"""What an owner has, as rows: statements on an open connection; see `sqlite_sessions` and `names`."""

from __future__ import annotations

import sqlite3

from . import sqlite_records as records
from . import sqlite_sessions as sessions
from .base import Record
from .names import name_of

_AFTER = "\x20"  # the character behind the one between owner and id: where an owner's names end


def count(db: sqlite3.Connection, owner: str, now: float) -> int:
    """How many sessions an owner has."""
    rows = db.execute(
        "SELECT count(*) FROM sessions WHERE owner = ? AND (expires_at IS NULL OR expires_at > ?)", (owner, now)
    )
    (number,) = rows.fetchone()
    return int(number)


def put_share(db: sqlite3.Connection, record: Record, now: float) -> None:
    """Note, or take back, whose session a reader was given."""
    ends = now + record.ttl if record.ttl else None
    db.execute("INSERT OR REPLACE INTO shares VALUES (?, ?, ?)", (record.id, record.data.decode(), ends))


def share(db: sqlite3.Connection, name: str, now: float) -> bytes | None:
    """See `Store.share`."""
    found = db.execute(
        "SELECT owner FROM shares WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)", (name, now)
    ).fetchone()
    return found[0].encode() or None if found else None


def erase(db: sqlite3.Connection, owner: str) -> int:
    """See `Store.erase`. What was there is overwritten, not only unlinked."""
    db.execute("PRAGMA secure_delete = ON")
    bounds = name_of(owner, ""), owner + _AFTER
    erased = 0
    for (session_id,) in db.execute("SELECT id FROM sessions WHERE owner = ?", (owner,)).fetchall():
        sessions.remove(db, session_id)
        erased += 1
    for (key,) in db.execute(
        "SELECT key FROM histories WHERE session_id > ? AND session_id < ?", bounds
    ).fetchall():
        records.remove_history(db, key)
        erased += 1
    for statement in _REMOVALS:
        erased += db.execute(statement, bounds).rowcount
    return erased + db.execute("DELETE FROM shares WHERE owner = ?", (owner,)).rowcount


_REMOVALS = (
    "DELETE FROM executions WHERE id > ? AND id < ?",
    "DELETE FROM shares WHERE id > ? AND id < ?",
    "DELETE FROM aside WHERE session_id > ? AND session_id < ?",
    "DELETE FROM claims WHERE session_id > ? AND session_id < ?",
)
