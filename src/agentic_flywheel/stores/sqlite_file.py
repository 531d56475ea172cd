"""One SQLite file for many callers, threads and processes: opening it, taking turns, what errors mean."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from ..errors import Damaged, Misconfigured, StoreError, Unavailable

T = TypeVar("T")

BUSY_SECONDS = 5.0


class Stamp(NamedTuple):
    """What changes with nearly every write of a file: when it was written last, in nanoseconds, and its size."""

    moment: int
    size: int


class SqliteFile:
    """A connection that opens on first use, and serves one call at a time in a thread beside the event loop.

    The thread is the file's own. Those that an event loop shares out are few, and flows may be in all of them for
    minutes; a claim could not be renewed meanwhile.

    A new file gets mode 0600, a new folder 0700. ``prepare`` is given each new connection and may refuse it.
    ``busy_seconds`` is how long a call waits for the lock of another process.
    """

    def __init__(
        self,
        path: Path,
        prepare: Callable[[sqlite3.Connection, str], None],
        *,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.path = path
        self._paths = str(path), f"{path}-wal"
        self._prepare = prepare
        self._busy_seconds = busy_seconds
        self._db: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # which file: one that was moved aside is not written on
        self._lock = threading.Lock()
        self._threads: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = WeakKeyDictionary()

    @property
    def may_be_there(self) -> bool:
        """Whether the file exists; true also where that cannot be told: who opens it hears why."""
        try:
            return self.path.exists()
        except OSError:
            return True

    def stamps(self) -> tuple[Stamp | None, Stamp | None]:
        """Those of the file and of the log beside it; None of one that is not there."""
        return stamp(self._paths[0]), stamp(self._paths[1])

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` gives for the connection, in one hop to a thread.

        A caller that is cancelled stops waiting; the work itself goes on to the end of its transaction.

        Raises:
            StoreError: what SQLite or the file system said, translated.
        """
        return await self.begin(work)

    def begin(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """As `call`, begun now: behind what was begun before, and before what is begun later."""
        return self._in_thread(partial(self._serve, work))

    async def beside(self, work: Callable[[], T]) -> T:
        """What ``work`` on the file gives, done without our connection and with the errors of `call`."""

        def serve() -> T:
            with self._lock:
                self._let_go()
                try:
                    return work()
                except (sqlite3.Error, OSError) as error:
                    raise translate(error, self.path) from error

        return await self._in_thread(serve)

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """What work gives in the thread. It is done also where the caller is cancelled.

        ``loop.run_in_executor`` and ``asyncio.shield`` together take twice as long to say so.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def serve() -> None:
            try:
                given = work()
            except BaseException as error:
                _tell(loop, answer, partial(answer.set_exception, error))
            else:
                _tell(loop, answer, partial(answer.set_result, given))

        self._thread(loop).submit(serve)
        return answer

    def _thread(self, loop: asyncio.AbstractEventLoop) -> ThreadPoolExecutor:
        thread = self._threads.get(loop)
        if thread is None:
            thread = self._threads[loop] = ThreadPoolExecutor(1, "sqlite")
        return thread

    async def close(self) -> None:
        """Wait for the work that is under way, then close the connection.

        It is closed also where the caller is cancelled: a lock that it has would stay as long as the process lives.
        """
        here = asyncio.get_running_loop()
        thread = self._threads.pop(here, None) or ThreadPoolExecutor(1, "sqlite")
        closing = here.run_in_executor(thread, self._close)  # behind what is under way: it does one after the other
        thread.shutdown(wait=False)
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait([closing])
            raise

    def _serve(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                if self._db is None or _identity(self._paths[0]) != self._opened:
                    self._let_go()
                    self._db = self._open()
                return work(self._db)
            except (sqlite3.Error, OSError) as error:
                self._let_go()  # the next call begins afresh, whatever state this one left behind
                raise translate(error, self.path) from error

    def _open(self) -> sqlite3.Connection:
        _create(self.path)
        db = sqlite3.connect(
            self.path,
            timeout=self._busy_seconds,
            isolation_level=None,  # transactions are begun and ended where they are written down
            check_same_thread=False,  # the lock lets one thread at a time in
        )
        try:
            self._prepare_in_turn(db)
        except BaseException:
            db.close()
            raise
        self._opened = _identity(self._paths[0])
        return db

    def _prepare_in_turn(self, db: sqlite3.Connection) -> None:
        """Prepare a connection; where several do so with a new file at once, SQLite itself does not wait."""
        patience = time.monotonic() + self._busy_seconds
        while True:
            try:
                return self._prepare(db, str(self.path))
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                    raise
            time.sleep(0.005)

    def _close(self) -> None:
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], settle: Callable[[], None]) -> None:
    """Settle an answer in its loop, unless nobody waits for it any more."""

    def settle_if_wanted() -> None:
        if not answer.done():
            settle()

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(settle_if_wanted)


def stamp(path: str) -> Stamp | None:
    """That of a file; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116  # at each save; Path.stat takes several times as long
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # as above
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # O_EXCL, so that a file that is there is never opened: closing it again would drop the locks that
        # another connection of this process holds on it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def translate(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """What an error of SQLite or of the file system means, and what to do about it."""
    if isinstance(error, OSError):
        found, advice = _OF_SYSTEM.get(error.errno or 0, _NO_ACCESS)
    else:
        # What the module says on its own account, not for SQLite, has no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        found, advice = _OF_SQLITE.get(code & 0xFF, _UNEXPECTED)
    return found(f"{path}: {advice} ({error})")


_Meaning = tuple[type[StoreError], str]

_NO_ACCESS: _Meaning = (
    Misconfigured,
    "cannot be written; give this user the right to, or point FLYWHEEL_STATE_DIR at a folder of its own",
)
_DISK_FULL: _Meaning = (Unavailable, "the disk is full; free some space, then go on. Nothing was changed")
_DISK_FAILS: _Meaning = (
    Unavailable,
    "the file system refuses to read or write; look for a full disk, a quota or a failing device",
)
_NO_DATABASE: _Meaning = (
    Damaged,
    "is damaged, or no database of ours; move it aside (with the -wal and -shm beside it), or point "
    "FLYWHEEL_STATE_DIR elsewhere. Nothing was changed",
)
_LOCKED: _Meaning = (Unavailable, "another process holds its lock too long; try again, or end that process")
_UNEXPECTED: _Meaning = (Unavailable, "SQLite refused")

_OF_SQLITE: dict[int, _Meaning] = {
    sqlite3.SQLITE_NOTADB: _NO_DATABASE,
    sqlite3.SQLITE_CORRUPT: _NO_DATABASE,
    sqlite3.SQLITE_READONLY: _NO_ACCESS,
    sqlite3.SQLITE_CANTOPEN: _NO_ACCESS,
    sqlite3.SQLITE_PERM: _NO_ACCESS,
    sqlite3.SQLITE_FULL: _DISK_FULL,
    sqlite3.SQLITE_IOERR: _DISK_FAILS,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
}
_OF_SYSTEM: dict[int, _Meaning] = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EIO: _DISK_FAILS,
}
