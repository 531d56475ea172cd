"""Claims as rows: statements on an open connection, each function inside of a transaction of its caller."""

from __future__ import annotations

import sqlite3

from msgspec.structs import replace

from .base import Claim, Grant
from .writing import next_fence

TABLES = (
    "DROP TABLE IF EXISTS claims",  # an older one, without fences; claims do not last
    """CREATE TABLE claims (session_id TEXT PRIMARY KEY, turn_id TEXT NOT NULL, note BLOB NOT NULL,
    until REAL NOT NULL, fence INTEGER NOT NULL) WITHOUT ROWID""",
)
KEPT_SECONDS = 7 * 24 * 3600


def claim(db: sqlite3.Connection, new: Claim, session_id: str, instead: str | None, now: float) -> Grant:
    """See `Store.claim`; the new claim's fence is set here."""
    found = claimed(db, session_id, now)
    if found is not None and not found.ended and found.turn_id not in (new.turn_id, instead):
        return Grant(0, found)
    fence = next_fence(found, new.turn_id, now)
    row = (session_id, new.turn_id, new.note, new.until, fence)
    db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", row)
    db.execute("DELETE FROM claims WHERE until < ?", (now - KEPT_SECONDS,))
    return Grant(fence, replace(found, ended=True) if found and found.turn_id != new.turn_id else None)


def claimed(db: sqlite3.Connection, session_id: str, now: float) -> Claim | None:
    """See `Store.claimed`."""
    row = db.execute(
        "SELECT turn_id, note, until, fence FROM claims WHERE session_id = ? AND until > ?",
        (session_id, now - KEPT_SECONDS),
    ).fetchone()
    if row is None:
        return None
    turn_id, note, until, fence = row
    return Claim(turn_id, note, until, until <= now, fence)


def standing(db: sqlite3.Connection, now: float) -> set[str]:
    """The sessions on which there are claims that have not ended."""
    return {name for (name,) in db.execute("SELECT session_id FROM claims WHERE until > ?", (now,))}


def release(db: sqlite3.Connection, session_id: str, turn_id: str) -> None:
    """See `Store.release`."""
    db.execute("DELETE FROM claims WHERE session_id = ? AND turn_id = ?", (session_id, turn_id))
