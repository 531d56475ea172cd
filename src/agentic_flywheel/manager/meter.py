"""What a manager did, counted and timed."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

WINDOW = 1000  # the last calls of each kind that are timed


class Meter:
    """Counts outcomes and keeps the durations of the last calls."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._durations: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Time what is done inside, whether it succeeds or not."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._durations[name].append((time.perf_counter() - start) * 1000)

    def latencies_ms(self) -> dict[str, dict[str, float]]:
        """The median and the 99th percentile of each kind of call, in milliseconds."""
        result = {}
        for name, durations in self._durations.items():
            ordered = sorted(durations)
            result[name] = {"p50": _at(ordered, 0.50), "p99": _at(ordered, 0.99)}
        return result


def _at(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3)
