"""The journal's file: what was accepted and is not in the store yet, in the order in which it was accepted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ..errors import Newer
from ..jsontext import decode, encode
from ..session.times import seconds
from ..stores import Change, Record, sqlite_claims
from ..stores.names import parts_of
from ..stores.sqlite_transaction import reading, writing

VERSION = 2


class Deletion(msgspec.Struct, frozen=True):
    """A session that is to be deleted; see `Store.delete`."""

    session_id: str
    deleted_at: str
    ttl: int


class Records(msgspec.Struct, frozen=True):
    """Executions and history entries that are to be stored."""

    records: tuple[Record, ...]


Work = Change | Deletion | Records
WorkKind = Literal["change", "deletion", "records"]
Appended = Literal["appended", "full", "not behind", "deleted"]

_TYPES: dict[WorkKind, type] = {"change": Change, "deletion": Deletion, "records": Records}
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[WorkKind, msgspec.msgpack.Decoder[Work]] = {
    kind: msgspec.msgpack.Decoder(type_) for kind, type_ in _TYPES.items()
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted piece of work.

    ``place`` orders the journal (None: at its end), ``accepted_at`` is seconds since 1970. ``work`` is None
    where the bytes are damaged; ``refused`` says why a store did not take it.
    """

    place: int | None
    session_id: str
    kind: WorkKind
    accepted_at: float
    data: bytes
    refused: str | None = None

    @property
    def work(self) -> Work | None:
        """What is to be done."""
        try:
            return _decoders[self.kind].decode(self.data)
        except (msgspec.MsgspecError, KeyError, TypeError):
            return None

    @property
    def records(self) -> Sequence[Record]:
        """The executions and history entries that it brings."""
        work = self.work
        return work.records if isinstance(work, Change | Records) else ()


Known = tuple[int, int]
"""What is known of the work that waits for a session: how many entries, and the place of the last of them."""

Waiting = tuple[bool, list[Entry]]
"""Whether all entries that are known wait still; those that are not known, or else all that wait; oldest first."""


@dataclass(slots=True)
class ReadAhead:
    """What waits for a session, read with a claim: ``waiting``, once that is granted, beside what was ``known``."""

    known: Known
    waiting: Waiting | None = None


def exported(entry: Entry) -> dict[str, Any]:
    """What an entry asks for, in JSON types, for people and other programs; its bytes where they are damaged."""
    match entry.work:
        case Change() as change:
            turns = change.added if change.history is None else change.history
            rewrites = change.history is not None
            return {"head": _value(change.head), "turns": [_value(turn) for turn in turns], "rewrites": rewrites}
        case Deletion() as deletion:
            return {"deleted_at": deletion.deleted_at}
        case Records() as records:
            return {"records": [{"kind": record.kind, "data": _value(record.data)} for record in records.records]}
        case None:
            return {"damaged": entry.data.hex()}


def _value(data: bytes) -> Any:
    try:
        return decode(data)
    except ValueError:
        return {"damaged": data.hex()}


@dataclass(frozen=True, slots=True)
class Pending:
    """How much waits: entries, their bytes, when the oldest was accepted, and how many were refused."""

    entries: int
    bytes: int
    oldest: float | None
    refused: int


def prepare(db: sqlite3.Connection, path: str) -> None:
    """Make a new connection ready; a new file gets its tables.

    Raises:
        Newer: a newer version of this package made the file.
    """
    version = _version(db)
    if version > VERSION:
        raise Newer(
            f"the journal {path} was made by a newer version of agentic-flywheel (format {version}, this version "
            f"knows {VERSION}); upgrade, or point FLYWHEEL_STATE_DIR elsewhere. Nothing was changed"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")  # safe against the death of processes, at any instant
    # A checkpoint waits for the disk, and with it the caller whose commit would start it: see `Journal.tidy`.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    if version < VERSION:
        with writing(db):
            if _version(db) < VERSION:  # another process may have made it since, and claimed something in it
                for statement in _TABLES:
                    db.execute(statement)
    for statement in _INDEXES:
        db.execute(statement)


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


# Files of earlier versions have other indexes; those versions do not mind these.
_INDEXES = (
    # It tells what waits without a look at the entries themselves, where ``refused`` stands behind their data.
    "CREATE INDEX IF NOT EXISTS by_state ON entries (session_id, refused)",
    "CREATE INDEX IF NOT EXISTS deletions ON entries (session_id) WHERE kind = 'deletion'",
    "DROP INDEX IF EXISTS by_session",
    "DROP INDEX IF EXISTS records_by_place",
)

_TABLES = (
    """CREATE TABLE IF NOT EXISTS entries (
        place INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, kind TEXT NOT NULL,
        accepted_at REAL NOT NULL, data BLOB NOT NULL, refused TEXT)""",
    # Which records an entry brings, so that one of them is found without reading all that waits.
    "CREATE TABLE IF NOT EXISTS records (name BLOB, place INTEGER, PRIMARY KEY (name, place)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS totals (bytes INTEGER NOT NULL)",
    *sqlite_claims.TABLES,
    "INSERT INTO totals SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM totals)",
    f"PRAGMA user_version = {VERSION}",
)


def append(
    db: sqlite3.Connection,
    session_id: str,
    work: Work,
    *,
    now: float,
    limit: int,
    behind: bool,
    releases: str | None = None,
) -> Appended:
    """Add work at the end; with ``behind``, only if other work of its session waits already.

    ``releases`` is the turn whose claim is given up with it, if any.
    A journal that would have more than ``limit`` bytes is left alone, and a session whose deletion waits is
    not gone on with.
    """
    kind = next(kind for kind, type_ in _TYPES.items() if isinstance(work, type_))
    data = _encoder.encode(work)
    with writing(db):
        if behind and not _waiting_for(db, session_id):
            return "not behind"
        if isinstance(work, Change) and _deleted_since(db, work):
            return "deleted"
        (size,) = db.execute("SELECT bytes FROM totals").fetchone()
        if size + len(data) > limit:
            return "full"
        put(db, [Entry(None, session_id, kind, now, data)])
        if releases is not None:
            sqlite_claims.release(db, session_id, releases)
    return "appended"


def put(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Insert entries, each at its place if it has one, else at the end."""
    for entry in entries:
        done = db.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
            (entry.place, entry.session_id, entry.kind, entry.accepted_at, entry.data, entry.refused),
        )
        db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?)", _names(entry, done.lastrowid))
        db.execute("UPDATE totals SET bytes = bytes + ?", (len(entry.data),))


def name_of(*parts: str) -> bytes:
    """What a record is found by: its kind, and its id or the ids of its session and flow."""
    return encode(list(parts))


def _names(entry: Entry, place: int | None) -> list[tuple[bytes, int | None]]:
    return [(name_of(record.kind, *_ids(record)), place) for record in entry.records]


def _ids(record: Record) -> tuple[str, ...]:
    return (record.session_id, record.flow_id) if record.kind == "history" else (record.id,)


def _deleted_since(db: sqlite3.Connection, change: Change) -> bool:
    """Whether a deletion waits that came after the change's conversation began."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM entries INDEXED BY deletions"  # noqa: S608
        " WHERE session_id = ? AND kind = 'deletion' AND refused IS NULL ORDER BY place DESC LIMIT 1",
        (change.session_id,),
    ).fetchone()
    work = Entry(*row).work if row else None
    return isinstance(work, Deletion) and seconds(work.deleted_at) >= seconds(change.created_at)


def _waiting_for(db: sqlite3.Connection, session_id: str) -> bool:
    row = db.execute(
        "SELECT 1 FROM entries WHERE session_id = ? AND refused IS NULL LIMIT 1", (session_id,)
    ).fetchone()
    return row is not None


def state_of_others(db: sqlite3.Connection) -> int:
    """Another number after another connection has changed the file."""
    (number,) = db.execute("PRAGMA data_version").fetchone()
    return int(number)


# From one session to the next: a SELECT DISTINCT would go through all entries.
_SESSIONS = """WITH RECURSIVE each_one (name) AS (
    SELECT min(session_id) FROM entries WHERE refused IS NULL
    UNION ALL
    SELECT (SELECT min(session_id) FROM entries WHERE refused IS NULL AND session_id > name)
    FROM each_one WHERE name IS NOT NULL
) SELECT name FROM each_one WHERE name IS NOT NULL"""


def sessions_waiting(db: sqlite3.Connection) -> set[str]:
    """The sessions that work waits for."""
    return {name for (name,) in db.execute(_SESSIONS)}


def newest_waiting(db: sqlite3.Connection) -> list[str]:
    """The sessions that work waits for, the one first for which it was accepted last."""
    rows = db.execute(
        "SELECT session_id FROM entries WHERE refused IS NULL GROUP BY session_id ORDER BY max(place) DESC"
    )
    return [name for (name,) in rows]


def erase(db: sqlite3.Connection, owner: str) -> int:
    """Remove what waits of an owner, or was refused, and its claims; how many entries there were.

    What was there is overwritten, not only unlinked.
    """
    db.execute("PRAGMA secure_delete = ON")
    of_owner = {name for (name,) in db.execute("SELECT DISTINCT session_id FROM entries") if _has(owner, name)}
    places = {place for name, place in db.execute("SELECT name, place FROM records") if _brings(owner, name)}
    rows = db.execute(f"SELECT {_COLUMNS} FROM entries")  # noqa: S608
    entries = [
        entry for entry in (Entry(*row) for row in rows) if entry.session_id in of_owner or entry.place in places
    ]
    remove(db, entries)
    with writing(db):
        claimed = [(name,) for (name,) in db.execute("SELECT session_id FROM claims") if _has(owner, name)]
        db.executemany("DELETE FROM claims WHERE session_id = ?", claimed)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the log still has what was there
    return len(entries)


def _has(owner: str, name: str) -> bool:
    return parts_of(name)[0] == owner


def _brings(owner: str, name: bytes) -> bool:
    return any(_has(owner, part) for part in decode(name)[1:])


_COLUMNS = "place, session_id, kind, accepted_at, data, refused"


def oldest(db: sqlite3.Connection, count: int, *, refused: bool = False, after: int | None = None) -> list[Entry]:
    """The entries that wait, oldest first, or those that a store refused; behind the place ``after``."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM entries WHERE (refused IS NOT NULL) = ? AND (? IS NULL OR place > ?)"  # noqa: S608
        " ORDER BY place LIMIT ?",
        (refused, after, after, count),
    )
    return [Entry(*row) for row in rows]


def work_of(db: sqlite3.Connection, session_id: str, known: Known = (0, 0)) -> Waiting:
    """The entries of a session that wait, oldest first.

    Who has seen so many up to a place is told before them whether all are still there, and then gets only others.
    """
    count, place = known
    of_session = "FROM entries WHERE session_id = ? AND refused IS NULL AND place"
    with reading(db):
        (left,) = db.execute(f"SELECT count(*) {of_session} <= ?", (session_id, place)).fetchone()
        behind = place if left == count else 0
        rows = db.execute(f"SELECT {_COLUMNS} {of_session} > ? ORDER BY place", (session_id, behind))
        return left == count, [Entry(*row) for row in rows]


def records_of(db: sqlite3.Connection, name: bytes) -> list[Record]:
    """What waits of an execution, or of the history of a flow in a session; oldest first. See `name_of`."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM records JOIN entries USING (place) WHERE name = ? AND refused IS NULL"  # noqa: S608
        " ORDER BY place",
        (name,),
    )
    return [record for row in rows for record in Entry(*row).records if name_of(record.kind, *_ids(record)) == name]


def remove(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Remove entries that are done."""
    with writing(db):
        for entry in entries:
            cursor = db.execute("DELETE FROM entries WHERE place = ?", (entry.place,))
            if cursor.rowcount:
                db.executemany("DELETE FROM records WHERE name = ? AND place = ?", _names(entry, entry.place))
                db.execute("UPDATE totals SET bytes = bytes - ?", (len(entry.data),))


def refuse(db: sqlite3.Connection, entry: Entry, reason: str) -> None:
    """Set an entry aside that no store will take; it is kept, to be looked at and exported."""
    with writing(db):
        db.execute("UPDATE entries SET refused = ? WHERE place = ?", (reason, entry.place))


def accept_again(db: sqlite3.Connection) -> int:
    """Let the entries wait again that a store refused; how many there are."""
    return db.execute("UPDATE entries SET refused = NULL WHERE refused IS NOT NULL").rowcount


def pending(db: sqlite3.Connection) -> Pending:
    """How much waits."""
    count, first, refused = db.execute(
        "SELECT count(*) FILTER (WHERE refused IS NULL), min(accepted_at) FILTER (WHERE refused IS NULL),"
        " count(refused) FROM entries"
    ).fetchone()
    (size,) = db.execute("SELECT bytes FROM totals").fetchone()
    return Pending(count, size, first, refused)
