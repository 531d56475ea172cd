"""Executions and flow histories as rows: statements on an open connection; see `sqlite_sessions`."""

from __future__ import annotations

import sqlite3

from .base import Record


def put(db: sqlite3.Connection, record: Record, now: float) -> None:
    """Store a record; one that is there is replaced, a history entry in its place."""
    ends = now + record.ttl if record.ttl else None
    if record.kind == "execution":
        db.execute("INSERT OR REPLACE INTO executions VALUES (?, ?, ?)", (record.id, record.data, ends))
        return
    _forget_expired(db, record.session_id, record.flow_id, now)
    found = db.execute(
        "INSERT INTO histories (session_id, flow_id, expires_at) VALUES (?, ?, ?)"
        " ON CONFLICT (session_id, flow_id) DO UPDATE SET expires_at = excluded.expires_at RETURNING key",
        (record.session_id, record.flow_id, ends),
    )
    (key,) = found.fetchone()
    db.execute(
        "INSERT INTO entries (history, id, line) VALUES (?, ?, ?)"
        " ON CONFLICT (history, id) DO UPDATE SET line = excluded.line",
        (key, record.id, record.data),
    )


def execution(db: sqlite3.Connection, execution_id: str, now: float) -> bytes | None:
    """An execution's document."""
    found = db.execute(
        "SELECT data FROM executions WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)",
        (execution_id, now),
    ).fetchone()
    return found[0] if found else None


def entries(db: sqlite3.Connection, session_id: str, flow_id: str, now: float) -> list[bytes]:
    """The entries of a flow's history, in order of their first appearance."""
    rows = db.execute(
        "SELECT line FROM entries JOIN histories ON histories.key = entries.history"
        " WHERE session_id = ? AND flow_id = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY place",
        (session_id, flow_id, now),
    )
    return [line for (line,) in rows]


def sweep(db: sqlite3.Connection, now: float, most: int) -> None:
    """Remove executions and histories that have expired."""
    db.execute(
        "DELETE FROM executions WHERE rowid IN (SELECT rowid FROM executions WHERE expires_at <= ? LIMIT ?)",
        (now, most),
    )
    expired = db.execute("SELECT key FROM histories WHERE expires_at <= ? LIMIT ?", (now, most))
    for (key,) in expired.fetchall():
        remove_history(db, key)


def _forget_expired(db: sqlite3.Connection, session_id: str, flow_id: str, now: float) -> None:
    """A history that has expired and was not swept yet does not come back with its next entry."""
    found = db.execute(
        "SELECT key FROM histories WHERE session_id = ? AND flow_id = ? AND expires_at <= ?",
        (session_id, flow_id, now),
    ).fetchone()
    if found:
        remove_history(db, found[0])


def remove_history(db: sqlite3.Connection, key: int) -> None:
    """Remove the history of that key, with its entries."""
    db.execute("DELETE FROM entries WHERE history = ?", (key,))
    db.execute("DELETE FROM histories WHERE key = ?", (key,))
