"""The tables of the SQLite file, and how a file gets them.

================  ============================================================================
``sessions``      a small row for each session: its mark, its times, the bytes of its turns
``heads``         the head of a session, apart: a turn that leaves it as it is does not write it
``turns``         one row for each turn
``executions``    the documents of executions
``histories``     a row for each flow of a session, with the end of its time
``entries``       the entries of a flow's history, in order of their first appearance
``tombstones``    when a session was deleted
``shares``        whose session the one is that a reader was given under a name
``aside``         what was damaged, as far as it could be read
``claims``        which turn a session is claimed for, until when
================  ============================================================================

``expires_at`` is in seconds since 1970, NULL for ever. ``active`` is what sessions are ordered by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from ..errors import Damaged, Newer
from . import sqlite_claims
from .sqlite_transaction import writing

APPLICATION_ID = 0x464C5957  # "FLYW": tells our file from another program's database


def prepare(db: sqlite3.Connection, where: str) -> None:
    """Bring a file that was just opened to the present schema; a new one gets all of it.

    Raises:
        Newer: it has a schema that this version does not know; it was left as it is.
        Damaged: it is the database of another program; it was left as it is.
    """
    version = _pragma(db, "user_version")
    _refuse_foreign(db, where)
    if version > len(MIGRATIONS):
        raise Newer(
            f"{where} has schema {version}; this version of agentic-flywheel knows up to {len(MIGRATIONS)}: "
            "upgrade it, or point FLYWHEEL_STATE_DIR elsewhere. The file was left as it is"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    if version < len(MIGRATIONS):
        _migrate(db)


def _migrate(db: sqlite3.Connection) -> None:
    with writing(db):
        version = _pragma(db, "user_version")  # again: another process may have been first
        for step in MIGRATIONS[version:]:
            step(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _refuse_foreign(db: sqlite3.Connection, where: str) -> None:
    found = _pragma(db, "application_id")
    if found == APPLICATION_ID:
        return
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    # A file that another process is creating at this moment may have got its tables since we looked.
    if (found or tables) and _pragma(db, "application_id") != APPLICATION_ID:
        raise Damaged(
            f"{where} is the database of another program; point FLYWHEEL_STATE_DIR elsewhere. Nothing was changed"
        )


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _schema_1(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA_1:
        db.execute(statement)


_SCHEMA_1 = (
    """
    CREATE TABLE sessions (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        version TEXT NOT NULL,
        epoch TEXT NOT NULL,
        revision INTEGER NOT NULL,
        total INTEGER NOT NULL,
        size INTEGER NOT NULL,
        last_active TEXT,
        active REAL NOT NULL,
        ttl INTEGER NOT NULL,
        expires_at REAL
    )
    """,
    "CREATE INDEX sessions_by_use ON sessions (active, id)",
    "CREATE INDEX sessions_by_end ON sessions (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE TABLE heads (session INTEGER PRIMARY KEY, head BLOB NOT NULL)",
    # Not WITHOUT ROWID: with turns of 2 KB that took 2.3 times the space, and reading all of them longer.
    """
    CREATE TABLE turns (
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        line BLOB NOT NULL,
        PRIMARY KEY (session, seq)
    )
    """,
    "CREATE TABLE executions (id TEXT PRIMARY KEY, data BLOB NOT NULL, expires_at REAL)",
    "CREATE INDEX executions_by_end ON executions (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE histories (
        key INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL,
        flow_id TEXT NOT NULL,
        expires_at REAL,
        UNIQUE (session_id, flow_id)
    )
    """,
    "CREATE INDEX histories_by_end ON histories (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE entries (
        place INTEGER PRIMARY KEY,
        history INTEGER NOT NULL,
        id TEXT NOT NULL,
        line BLOB NOT NULL,
        UNIQUE (history, id)
    )
    """,
    "CREATE TABLE tombstones (id TEXT PRIMARY KEY, deleted_at TEXT NOT NULL, expires_at REAL)",
    "CREATE INDEX tombstones_by_end ON tombstones (expires_at) WHERE expires_at IS NOT NULL",
)


def _schema_2(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE aside (place INTEGER PRIMARY KEY, session_id TEXT NOT NULL, raw BLOB, expires_at REAL)"
    )
    db.execute("CREATE INDEX aside_by_session ON aside (session_id)")


def _schema_3(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE sessions ADD COLUMN fence INTEGER NOT NULL DEFAULT 0")
    for statement in sqlite_claims.TABLES:
        db.execute(statement)


def _schema_4(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA_4:
        db.execute(statement)


_SCHEMA_4 = (
    "ALTER TABLE sessions ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX sessions_of_owner ON sessions (owner, active, id)",
    "DROP INDEX sessions_by_use",
    "CREATE TABLE shares (id TEXT PRIMARY KEY, owner TEXT NOT NULL, expires_at REAL)",
    "CREATE INDEX shares_by_end ON shares (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX shares_by_owner ON shares (owner)",
)


MIGRATIONS: Sequence[Callable[[sqlite3.Connection], None]] = [_schema_1, _schema_2, _schema_3, _schema_4]
"""Append only: the step at place n takes a file from schema n to n + 1."""
