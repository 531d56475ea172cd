"""The last known state of sessions, as rows of a file beside the journal.

A file of its own, so that writing what is merely nice to know never makes those wait who write what must not
be lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from itertools import islice

import msgspec

from ..session.times import seconds
from ..stores import Stored
from ..stores.names import parts_of
from ..stores.sqlite_transaction import writing

REMEMBERED_SECONDS = 30 * 24 * 3600  # as long as it is noted that their sessions were deleted

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Stored)


def prepare(db: sqlite3.Connection, path: str) -> None:
    """Make a new connection ready; a new file gets its table."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")  # what a power loss takes from here, the store still has
    with writing(db):
        for statement in _TABLES:
            db.execute(statement)


_TABLES = (
    "CREATE TABLE IF NOT EXISTS known (session_id TEXT PRIMARY KEY, active REAL NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS known_by_use ON known (active)",
    # Whose states were erased, and when: another process may have them still, and must not bring them back.
    "CREATE TABLE IF NOT EXISTS erased (owner TEXT PRIMARY KEY, moment REAL NOT NULL)",
)


def put(db: sqlite3.Connection, states: Mapping[str, Stored], most: int) -> None:
    """Keep these states, unless later ones are known, and of all of them the ``most`` lately used.

    What its owner had when all of it was erased is not kept.
    """
    rows = [(name, seconds(stored.last_active), _encoder.encode(stored)) for name, stored in states.items()]
    with writing(db):
        erased = dict(db.execute("SELECT owner, moment FROM erased"))
        rows = [row for row in rows if row[1] > erased.get(parts_of(row[0])[0], float("-inf"))]
        db.executemany(
            "INSERT INTO known VALUES (?, ?, ?) ON CONFLICT (session_id) DO UPDATE"
            " SET active = excluded.active, data = excluded.data WHERE excluded.active >= known.active",
            rows,
        )
        db.execute(
            "DELETE FROM known WHERE active < (SELECT active FROM known ORDER BY active DESC LIMIT 1 OFFSET ?)",
            (most - 1,),
        )


def get(db: sqlite3.Connection, session_id: str) -> Stored | None:
    """The state of a session, or None if it is not known, or what is kept of it is damaged."""
    row = db.execute("SELECT data FROM known WHERE session_id = ?", (session_id,)).fetchone()
    return _decoded(row[0]) if row else None


def recent(db: sqlite3.Connection, limit: int, owner: str) -> dict[str, Stored]:
    """The states of an owner's sessions used last, newest first."""
    rows = db.execute("SELECT session_id, data FROM known ORDER BY active DESC")
    mine = ((name, data) for name, data in rows if parts_of(name)[0] == owner)
    states = {name: _decoded(data) for name, data in islice(mine, limit)}
    return {name: stored for name, stored in states.items() if stored is not None}


def forget(db: sqlite3.Connection, session_id: str) -> None:
    """Forget a session."""
    db.execute("DELETE FROM known WHERE session_id = ?", (session_id,))


def erase(db: sqlite3.Connection, owner: str, moment: float) -> None:
    """Forget what an owner has at this moment, in seconds since 1970; what was there is overwritten."""
    db.execute("PRAGMA secure_delete = ON")
    names = [(name,) for (name,) in db.execute("SELECT session_id FROM known") if parts_of(name)[0] == owner]
    with writing(db):
        db.executemany("DELETE FROM known WHERE session_id = ?", names)
        db.execute("INSERT OR REPLACE INTO erased VALUES (?, ?)", (owner, moment))
        db.execute("DELETE FROM erased WHERE moment < ?", (moment - REMEMBERED_SECONDS,))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the log still has what was there


def _decoded(data: bytes) -> Stored | None:
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError:
        return None
