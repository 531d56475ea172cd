"""Transactions on a connection that is in autocommit mode otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reading(db: sqlite3.Connection) -> Iterator[None]:
    """Several SELECTs see one state of the file."""
    with _transaction(db, "BEGIN"):
        yield


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the only writer from its first moment on, so that what it reads is what it changes."""
    with _transaction(db, "BEGIN IMMEDIATE"):
        yield


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors have rolled it back already
            db.execute("ROLLBACK")
        raise
