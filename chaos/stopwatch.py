"""How long a caller waited, and how much of it the machine is to blame for."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

_SCHEDULER = Path("/proc/thread-self/schedstat")


class Wait(msgspec.Struct, frozen=True):
    """How long a caller waited, in milliseconds, and what its thread did meanwhile, where the system says so.

    It ``ran``, for any of its callers, or was ``queued``: ready to run and without a processor.
    """

    ms: float
    ran: float = 0.0
    queued: float = 0.0


class Stopwatch:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._ran, self._queued = _thread_times()
        self._start = time.perf_counter()

    def read(self) -> Wait:
        """What has passed since."""
        passed = time.perf_counter() - self._start
        ran, queued = _thread_times()
        return Wait(
            round(passed * 1000, 3), round((ran - self._ran) / 1e6, 3), round((queued - self._queued) / 1e6, 3)
        )


def _thread_times() -> tuple[int, int]:
    """How long this thread ran and was queued so far, in nanoseconds."""
    try:
        ran, queued, _ = _SCHEDULER.read_bytes().split()
        return int(ran), int(queued)
    except (OSError, ValueError):
        return 0, 0
