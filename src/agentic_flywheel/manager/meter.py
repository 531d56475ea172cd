"""What a manager did, counted and timed."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque

WINDOW = 1000  # the last calls of each kind that are timed


class Meter:
    """Counts outcomes and calls, adds up their seconds, and keeps the durations of the last ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._durations: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def took(self, name: str, start: float) -> None:
        """Note a call that began at a moment of `time.perf_counter` and has just ended, however it went."""
        seconds = time.perf_counter() - start
        self.calls[name] += 1
        self.seconds[name] += seconds
        self._durations[name].append(seconds * 1000)

    def latencies_ms(self) -> dict[str, dict[str, float]]:
        """The median and the 99th percentile of each kind of call, in milliseconds."""
        result = {}
        for name, durations in self._durations.items():
            ordered = sorted(durations)
            result[name] = {"p50": _at(ordered, 0.50), "p99": _at(ordered, 0.99)}
        return result


def _at(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3)
