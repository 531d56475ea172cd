"""One time budget over all the store calls of one operation, however many rounds it takes.

Whoever begins an operation sets the budget; a store layer that can cut a call short heeds it, others
ignore it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Deadline:
    """When the operation under way has to be over.

    ``at`` is on the clock of `time.monotonic`, ``watch`` what cuts the present call short.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.at = time.monotonic() + seconds
        self.watch: asyncio.Timeout | None = None

    def remaining(self) -> float:
        """Seconds that are left, at least 0."""
        return max(self.at - time.monotonic(), 0.0)

    def start_again(self) -> None:
        """Grant the whole budget once more: the store is answering, and there is just a lot to read."""
        self.at = time.monotonic() + self._seconds
        if self.watch is not None:
            self.watch.reschedule(asyncio.get_running_loop().time() + self._seconds)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Set the budget of the operation inside, in seconds. Inside of another one, the outer one holds."""
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    token = _current.set(Deadline(seconds))
    try:
        yield _current.get()  # type: ignore[misc]  # just set
    finally:
        _current.reset(token)


def current() -> Deadline | None:
    """The deadline of the operation under way, if it has one."""
    return _current.get()
