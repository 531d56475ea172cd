"""One time budget over all the store calls of one operation, however many rounds it takes.

Whoever begins an operation sets the budget; a store layer that can cut a call short heeds it, others
ignore it.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token


class Deadline:
    """When the operation under way has to be over.

    Where this thread itself was busy for much of the time, not the store was slow, and a caller who gave it up
    would only have more to do. The store then gets a fifth of the budget more to be heard, again and again while
    the thread stays busy; one that does not answer is not waited for much longer than the budget.

    ``at`` is on the clock of `time.monotonic`; ``is_watched`` says that somebody cuts calls short by it.
    """

    __slots__ = ("_begun", "_seconds", "_worked", "at", "is_watched")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.is_watched = False
        self.start_again()

    def start_again(self) -> None:
        """Grant the whole budget once more: the store answers, and there is just a lot to do."""
        self._begun, self._worked = time.monotonic(), time.thread_time()
        self.at = self._begun + self._seconds

    def remaining(self, reserve: float = 0.0) -> float:
        """Seconds that are left but for a reserve, at least 0."""
        now = time.monotonic()
        if self.at - reserve <= now:
            self._forgive(now, reserve)
        return max(self.at - reserve - now, 0.0)

    def _forgive(self, now: float, reserve: float) -> None:
        """Grant a little more, if this thread was busy for much of the time since the last grant."""
        passed, more = now - self._begun, self._seconds / 5
        worked = time.thread_time()
        if passed > more / 2 and worked - self._worked > passed / 3:
            self.at = now + reserve + more
            self._begun, self._worked = now, worked


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class _Within:
    """Sets a deadline for a block. A class, since a generator would cost each save as much as its encoding."""

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._token: Token[Deadline | None] | None = None

    def __enter__(self) -> Deadline:
        outer = _current.get()
        self._token = None if outer is not None else _current.set(Deadline(self._seconds))
        return outer or _current.get()  # type: ignore[return-value]  # just set

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)


def within(seconds: float) -> AbstractContextManager[Deadline]:
    """Set the budget of the operation inside, in seconds. Inside of another one, the outer one holds."""
    return _Within(seconds)


def current() -> Deadline | None:
    """The deadline of the operation under way, if it has one."""
    return _current.get()


def answered() -> None:
    """Grant the operation under way its whole budget once more; see `Deadline.start_again`."""
    deadline = current()
    if deadline is not None:
        deadline.start_again()
