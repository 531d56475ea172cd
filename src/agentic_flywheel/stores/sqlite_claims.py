"""Claims as rows: statements on an open connection, each function inside of a transaction of its caller."""

from __future__ import annotations

import sqlite3

from .base import Claim

TABLE = """CREATE TABLE IF NOT EXISTS claims (
    session_id TEXT PRIMARY KEY, turn_id TEXT NOT NULL, note BLOB NOT NULL, until REAL NOT NULL) WITHOUT ROWID"""
KEPT_SECONDS = 7 * 24 * 3600


def claim(db: sqlite3.Connection, new: Claim, session_id: str, instead: str | None, now: float) -> Claim | None:
    """See `Store.claim`."""
    found = claimed(db, session_id, now)
    if found is not None and found.turn_id != new.turn_id:
        if not found.ended and found.turn_id != instead:
            return found
        found = Claim(found.turn_id, found.note, found.until, ended=True)
    else:
        found = None
    db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", (session_id, new.turn_id, new.note, new.until))
    db.execute("DELETE FROM claims WHERE until < ?", (now - KEPT_SECONDS,))
    return found


def claimed(db: sqlite3.Connection, session_id: str, now: float) -> Claim | None:
    """See `Store.claimed`."""
    row = db.execute(
        "SELECT turn_id, note, until FROM claims WHERE session_id = ? AND until > ?",
        (session_id, now - KEPT_SECONDS),
    ).fetchone()
    if row is None:
        return None
    turn_id, note, until = row
    return Claim(turn_id, note, until, ended=until <= now)


def release(db: sqlite3.Connection, session_id: str, turn_id: str) -> None:
    """See `Store.release`."""
    db.execute("DELETE FROM claims WHERE session_id = ? AND turn_id = ?", (session_id, turn_id))
