"""Saving what can be saved of a journal whose file is damaged."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..stores.sqlite_transaction import writing
from . import journal_file as file
from .journal_file import Entry

BUSY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Mended:
    """How many entries were saved, at how many places nothing could be read, and where the damaged file is now."""

    saved: int
    unreadable: int
    aside: Path

    def __str__(self) -> str:
        lost = f"{self.unreadable} could not be read" if self.unreadable else "none was unreadable"
        return (
            f"the journal's file was damaged: {self.saved} entries were saved, {lost}; it is kept as {self.aside}"
        )


def mend(path: Path) -> Mended | None:
    """Move a damaged journal aside and bring what can be read of it into a new one; None if it is sound.

    Of several processes one does it, and the others find a sound one. What was saved stands before anything
    that others accepted meanwhile.

    Raises:
        sqlite3.Error, OSError: it cannot be moved, or no new one can be written.
    """
    with _alone(path.with_suffix(".mending")):
        if not path.exists() or _is_sound(path):
            return None
        aside = _move_aside(path)
        saved, unreadable = _readable(aside)
        behind = 1 + max((entry.place or 0 for entry in saved), default=0)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as new:
            path.chmod(0o600)
            file.prepare(new, str(path))
            with writing(new):
                file.put(new, [replace(entry, place=(entry.place or 0) - behind) for entry in saved])
        return Mended(len(saved), unreadable, aside)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with closing(sqlite3.connect(lock, isolation_level=None, timeout=BUSY_SECONDS)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as db:
            return bool(db.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def _move_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.stem}.damaged-{time.time_ns()}.db")
    for ending in ("-wal", ""):  # the log first: a file without its log is less than a log without its file
        source = path.with_name(path.name + ending)
        if source.exists():
            source.rename(aside.with_name(aside.name + ending))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return aside


def _readable(aside: Path) -> tuple[list[Entry], int]:
    """The entries that can be read, in order, and the number of places at which something cannot be."""
    saved, unreadable = [], 0
    try:
        with closing(sqlite3.connect(aside)) as db:
            for place in _places(db):
                try:
                    row = db.execute("SELECT * FROM entries WHERE place = ?", (place,)).fetchone()
                except sqlite3.DatabaseError:
                    unreadable += 1
                    continue
                if row is not None:
                    saved.append(Entry(*row))
    except sqlite3.DatabaseError:
        return saved, unreadable
    return saved, unreadable


def _places(db: sqlite3.Connection) -> Iterable[int]:
    """The places of all entries, from the index, or from both ends of the table where that is damaged itself."""
    try:
        return sorted(place for (place,) in db.execute("SELECT place FROM entries INDEXED BY by_state"))
    except sqlite3.DatabaseError:
        first, last = (_end(db, order) for order in ("ASC", "DESC"))
        if first is None and last is None:
            return ()
        return range(first if first is not None else 1, (last if last is not None else first or 0) + 1)


def _end(db: sqlite3.Connection, order: str) -> int | None:
    try:
        row = db.execute(f"SELECT place FROM entries ORDER BY place {order} LIMIT 1").fetchone()  # noqa: S608
    except sqlite3.DatabaseError:
        return None
    return int(row[0]) if row else None
