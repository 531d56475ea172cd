"""Small work on a file that gathers while the file is busy, and is done in one transaction then."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable

from ..stores.sqlite_file import SqliteFile
from ..stores.sqlite_transaction import writing

Work = Callable[[sqlite3.Connection], object]


class Beside:
    """Does small work on a file, in the order in which it was asked for.

    Where many ask at once, a hop to the file's thread and a transaction for each would cost more than the work.
    ``afterwards`` is called for the connection when some was done.
    """

    def __init__(self, file: SqliteFile, afterwards: Work) -> None:
        self._file = file
        self._afterwards = afterwards
        self._waiting: deque[Work] = deque()
        self._is_coming = False  # the thread will take what waits; it says itself when it begins to
        self._coming: asyncio.Future[None] | None = None

    def do(self, work: Work) -> asyncio.Future[None]:
        """Have this done behind what was begun before on the file. The future is shared: it is not to be cancelled.

        Raises, from the future:
            StoreError: the file cannot be used.
        """
        self._waiting.append(work)
        coming = self._coming
        if coming is None or coming.done() or not self._is_coming or not _is_of_this_loop(coming):
            self._is_coming = True
            coming = self._coming = self._file.begin(self._do_all)
            coming.add_done_callback(_heard)
        return coming

    def _do_all(self, db: sqlite3.Connection) -> None:
        self._is_coming = False  # before what waits is taken: what is added from now on may come too late for it
        with writing(db):
            while self._waiting:
                self._waiting.popleft()(db)
        self._afterwards(db)


def _heard(done: asyncio.Future[None]) -> None:
    """What fails here fails for those who wait for it; mostly nobody does."""
    if not done.cancelled():
        done.exception()


def _is_of_this_loop(future: asyncio.Future[None]) -> bool:
    return future.get_loop() is asyncio.get_running_loop()
