"""The journal: what was accepted while the store was away, on local disk until the store has it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import Damaged, Deleted, Newer, Unavailable
from ..stores import Claim, Grant, Record
from ..stores import sqlite_claims as claims
from ..stores.names import id_of
from ..stores.sqlite_file import SqliteFile, Stamp
from ..stores.sqlite_transaction import writing
from . import journal_file as file
from .beside import Beside
from .journal_file import Entry, Known, Pending, ReadAhead, Waiting, Work
from .mending import mend

log = logging.getLogger("agentic_flywheel.journal")

T = TypeVar("T")

DEFAULT_LIMIT = 256 * 1024**2
LONG_LOG = 8 * 1024**2  # bytes
TIDY_SECONDS = 0.1  # that who appends waits at most, where somebody stands still who reads
PAGE = 500
TICK_SECONDS = 0.004  # of the file system's clock


def journal_path(folder: Path, store: str) -> Path:
    """Where the journal of a store is, in the folder for local files; each store has its own."""
    return folder / f"journal-{hashlib.sha256(store.encode()).hexdigest()[:12]}.db"


class Journal:
    """A bounded queue on disk, in the order of acceptance, shared by all processes of a user on a machine.

    An entry that was accepted survives the death of any process at any instant. The file has mode 0600. If it is
    damaged, it is moved aside and what can be read of it is kept in a new one.

    Every method raises `Unavailable` where the file cannot be used; the message says what to do.

    Args:
        path: the file.
        limit: the greatest size of what waits, in bytes; beyond it new work is refused, old work is kept.
        clock: seconds since 1970, only for people to read: the order does not depend on it.
    """

    def __init__(self, path: Path, *, limit: int = DEFAULT_LIMIT, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.limit = limit
        self.trouble: str | None = None
        """What happened to the file, if it had to be mended."""
        self._clock = clock
        self._file = SqliteFile(path, file.prepare)
        self._seen: tuple[Stamp | None, Stamp | None] | None = None
        self._looked = 0.0
        self._state: tuple[sqlite3.Connection, int] | None = None  # of what others wrote, at the last look at it
        self._claimed_here: dict[str, str] = {}  # by session: the turn
        self._beside = Beside(self._file, self._note_own)

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` gives for the file; see `SqliteFile.call`."""

        def work_and_note(db: sqlite3.Connection) -> T:
            given = work(db)
            self._note_own(db)
            return given

        try:
            try:
                return await self._file.call(work_and_note)
            except Damaged:
                await self._mend()
                return await self._file.call(work_and_note)
        except (Damaged, Newer) as error:  # of the journal, not of a session
            raise Unavailable(str(error)) from error

    def _note_own(self, db: sqlite3.Connection) -> None:
        """Have what we changed ourselves not count as changed, unless others changed something too."""
        stamps = self._file.stamps()
        if self._state == (db, file.state_of_others(db)):  # asked after the stamps: what comes later changes these
            self._seen = stamps

    async def _mend(self) -> None:
        await self._file.close()
        mended = await self._file.beside(lambda: mend(self.path))
        if mended is not None:
            self.trouble = str(mended)
            log.error("%s", mended)

    async def append(
        self, session_id: str, work: Work, *, behind: bool = False, releases: str | None = None
    ) -> bool:
        """Accept work; with ``behind``, only if earlier work of the session still waits. Whether it was accepted.

        ``releases`` is the turn whose claim is given up with it, if any.

        Raises:
            Unavailable: the journal is full, or cannot be used.
            Deleted: the session was deleted, and the deletion waits.
        """
        append = partial(
            file.append,
            session_id=session_id,
            work=work,
            now=self._clock(),
            limit=self.limit,
            behind=behind,
            releases=releases,
        )
        done = await self.call(append)
        if done == "full":
            raise Unavailable(
                f"the journal {self.path} is full ({self.limit:,} bytes): nothing new is accepted until the store "
                "answers and it is replayed; raise journal.limit_bytes to take more"
            )
        if done == "deleted":
            raise Deleted(f"session {id_of(session_id)!r} was deleted")
        if done == "appended":
            self._forget_claim(session_id, releases)
        return done == "appended"

    async def oldest(self, count: int) -> list[Entry]:
        """The entries that wait, oldest first."""
        return await self.call(lambda db: file.oldest(db, count))

    async def entries(self, *, refused: bool = False) -> AsyncIterator[Entry]:
        """All entries that wait, oldest first, or those that the store would not take; read a page at a time."""
        page = await self.call(lambda db: file.oldest(db, PAGE, refused=refused))
        while page:
            for entry in page:
                yield entry
            last = page[-1].place
            page = await self.call(lambda db, last=last: file.oldest(db, PAGE, refused=refused, after=last))  # type: ignore[misc]  # mypy cannot infer it

    async def work_of(self, session_id: str, known: Known = (0, 0)) -> Waiting:
        """The entries of a session that wait, oldest first; before them, whether all wait still that are known.

        ``known`` is how many these are, and the place of the last one: where all wait, only later ones are given.
        """
        return await self.call(lambda db: file.work_of(db, session_id, known))

    async def records_of(self, *name: str) -> list[Record]:
        """What waits of ``("execution", id)`` or ``("history", session_id, flow_id)``, oldest first."""
        return await self.call(lambda db: file.records_of(db, file.name_of(*name)))

    async def sessions(self) -> set[str]:
        """The sessions that work waits for."""
        return await self.call(file.sessions_waiting)

    async def in_use(self) -> tuple[set[str], set[str]]:
        """The sessions that work waits for, and those that processes of this machine have claimed.

        From now on `changed` tells what others change.
        """
        now = self._clock()

        def look(db: sqlite3.Connection) -> tuple[set[str], set[str]]:
            self._state = db, file.state_of_others(db)
            return file.sessions_waiting(db), claims.standing(db, now)

        return await self.call(look)

    async def newest(self) -> list[str]:
        """The sessions that work waits for, the one first for which it was accepted last."""
        return await self.call(file.newest_waiting)

    async def erase(self, owner: str) -> int:
        """Remove what waits of an owner, and its claims; how many entries there were."""
        return await self.call(lambda db: file.erase(db, owner))

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Forget entries that are done."""
        await self.call(lambda db: file.remove(db, entries))

    async def refuse(self, entry: Entry, reason: str) -> None:
        """Set an entry aside, with the reason why it cannot be done."""
        await self.call(lambda db: file.refuse(db, entry, reason))

    async def accept_again(self) -> int:
        """Let the entries wait again that the store would not take; how many there are."""
        return await self.call(file.accept_again)

    async def pending(self) -> Pending:
        """How much waits."""
        return await self.call(file.pending)

    async def claim(
        self,
        session_id: str,
        turn_id: str,
        note: bytes,
        *,
        seconds: float,
        instead: str | None = None,
        reads: ReadAhead | None = None,
    ) -> Grant:
        """Claim a session among the processes of this machine; see `Store.claim`.

        What is to be read if it is granted is read in the same hop to the file's thread.
        """
        now = self._clock()
        new = Claim(turn_id, note, now + seconds)

        def work(db: sqlite3.Connection) -> Grant:
            with writing(db):
                grant = claims.claim(db, new, session_id, instead, now)
            if reads is not None and not grant.stands:
                reads.waiting = file.work_of(db, session_id, reads.known)
            return grant

        grant = await self.call(work)
        if not grant.stands:
            self._claimed_here[session_id] = turn_id
        return grant

    def is_claimed_here(self, session_id: str) -> bool:
        """Whether this process has claimed a session, and not given it up."""
        return session_id in self._claimed_here

    async def claimed(self, session_id: str) -> Claim | None:
        """The claim that processes of this machine have on a session; see `Store.claimed`."""
        return await self.call(lambda db: claims.claimed(db, session_id, self._clock()))

    def note_claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, refused: Callable[[], None]
    ) -> None:
        """Claim a session as `claim` does, without waiting for it; ``refused`` is called where another's stands."""
        now, grants = self._clock(), list[Grant]()
        new = Claim(turn_id, note, now + seconds)

        def heard(_: object) -> None:
            if grants and grants[0].stands:
                self._forget_claim(session_id, turn_id)
                refused()

        self._claimed_here.setdefault(session_id, turn_id)
        done = self._beside.do(lambda db: grants.append(claims.claim(db, new, session_id, None, now)))
        done.add_done_callback(heard)

    async def release(self, session_id: str, turn_id: str) -> None:
        """Give up a claim; see `Store.release`."""
        self._forget_claim(session_id, turn_id)
        try:
            await asyncio.shield(self._beside.do(lambda db: claims.release(db, session_id, turn_id)))
        except (Damaged, Newer) as error:  # the next call mends it; the claim ends by itself
            raise Unavailable(str(error)) from error

    def _forget_claim(self, session_id: str, turn_id: str | None) -> None:
        if turn_id is not None and self._claimed_here.get(session_id) == turn_id:
            del self._claimed_here[session_id]

    @property
    def exists(self) -> bool:
        """Whether there is a journal file, or may be; without one, nothing waits."""
        return self._file.may_be_there

    async def tidy(self) -> None:
        """Bring what was appended from the log beside the file into the file, once that has become long.

        This waits for the disk. It has a connection of its own, so that who appends waits for the end of it only.
        """
        _, log = self._file.stamps()
        if log is None or log.size < LONG_LOG:
            return
        beside = SqliteFile(self.path, file.prepare, busy_seconds=TIDY_SECONDS)
        try:
            await beside.call(_checkpoint)
        finally:
            await beside.close()

    def changed(self) -> bool:
        """Whether others may have changed the file since the last call of this.

        Cheap, and off by as much as the file system's clock ticks; between two ticks it does not look again.
        """
        if (moment := time.monotonic()) - self._looked < TICK_SECONDS:
            return False
        self._looked = moment
        seen = self._file.stamps()
        changed = seen != self._seen and seen[0] is not None
        self._seen = seen
        return changed

    def look_again(self) -> None:
        """Have the next call of `changed` take the file for another one."""
        self._seen, self._looked, self._state = None, 0.0, None

    @asynccontextmanager
    async def replaying(self) -> AsyncIterator[bool]:
        """The right to replay; False while another process has it. It ends with the process that has it.

        An exclusive transaction on a file of its own is the lock: the system lets go of it when its holder
        dies, and every platform has it.
        """
        lock = SqliteFile(self.path.with_suffix(".lock"), _no_tables, busy_seconds=0)
        try:
            yield await lock.call(_lock)
        finally:
            await lock.close()

    async def close(self) -> None:
        """Close the file; it opens again on the next use."""
        await self._file.close()


def _no_tables(db: sqlite3.Connection, path: str) -> None:
    """A lock holds nothing."""


def _lock(db: sqlite3.Connection) -> bool:
    try:
        db.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


def _checkpoint(db: sqlite3.Connection) -> None:
    """Bring the log into the file, and have it begin anew.

    While others append all the time, one that holds up nobody never gets to the end; the second one holds them up
    for the little that is left. It leaves no log behind: one that is long would be taken for one to be brought in.
    """
    db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
