"""The circuit breaker: a state machine that decides whether a call is worth the wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after some failures in a row, and then lets one probe through from time to time.

    It is fed by its owner and has no tasks. While it is open, callers are turned away at once; only a probe
    can close it, so no caller ever pays for finding out. The pause between two probes doubles with each that
    fails, up to a greatest one: it always recovers, within that time.

    Args:
        failures: how many in a row open it.
        pause: seconds until the first probe.
        longest_pause: seconds between probes at the most.
        patience: seconds until a probe that was never answered for (its event loop is gone) gives way to another.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        *,
        failures: int = 3,
        pause: float = 0.1,
        longest_pause: float = 1.0,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_failures = failures
        self._first_pause = self._pause = pause
        self._longest_pause = longest_pause
        self._patience = patience
        self._clock = clock
        self._failures = 0
        self._probe_at = 0.0
        self.state: State = "closed"

    @property
    def admits(self) -> bool:
        """Whether a caller may go through."""
        return self.state == "closed"

    def until_probe(self) -> float:
        """Seconds until a probe may go through; 0 if one may now."""
        return max(self._probe_at - self._clock(), 0.0)

    def start_probe(self) -> bool:
        """Take the one probe that is due, if it is; report how it went by `succeeded` or `failed`."""
        if self.state == "closed" or self.until_probe() > 0:
            return False
        self.state = "half-open"
        self._probe_at = self._clock() + self._patience
        return True

    def succeeded(self) -> None:
        """A call, or the probe, was answered."""
        self.state = "closed"
        self._failures = 0
        self._pause = self._first_pause

    def failed(self) -> None:
        """A call, or the probe, was not answered, or with an error that a later one may not meet."""
        self._failures += 1
        if self.state == "half-open":
            self._pause = min(self._pause * 2, self._longest_pause)
        elif self.state == "open" or self._failures < self._most_failures:
            return
        self.state = "open"
        self._probe_at = self._clock() + self._pause
