"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

LATENCIES = ("save", "load_all", "read_all", "load_last")


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes and bounds of a run; times are in seconds.

    Attributes:
        lengths: turns in the session, ascending.
        rounds: how often each contestant has its turn at each measurement.
        repeat: calls in a turn.
        seconds: how long such a turn may last; a call that has begun is always finished.
        crowds: how many sessions write at once, and how many turns each of them adds.
        crowd_rounds: how often each contestant has its turn at each crowd.
        crowd_seconds: how long a crowd may write.
        kept_turns: turns that each of the two interleaved writers adds.
        byte_lengths: turns in the session where bytes are counted.
        byte_turns: turns added for that.
        patience: after so long a contestant is ended, and what it was doing is named as the reason.
    """

    lengths: tuple[int, ...] = (1, 10, 100, 1_000, 5_000, 20_000)
    rounds: int = 5
    repeat: int = 40
    seconds: float = 0.4
    crowds: dict[int, int] = field(default_factory=lambda: {1: 200, 16: 100, 200: 50})
    crowd_rounds: int = 3
    crowd_seconds: float = 2.0
    kept_turns: int = 500
    byte_lengths: tuple[int, int] = (10, 20_000)
    byte_turns: int = 10
    patience: float = 60.0

    @property
    def calls(self) -> int:
        """How many calls each latency is to be the median of."""
        return self.rounds * self.repeat

    def sessions(self, length: int, calls: int) -> int:
        """How many sessions of a length so many saves are spread over, so that none grows by more than a tenth."""
        return -(-calls // max(1, length // 10))


FULL = Plan()
QUICK = Plan(
    lengths=(1, 100, 1_000, 5_000),
    rounds=2,
    repeat=30,
    seconds=0.1,
    crowds={1: 100, 16: 25, 200: 10},
    crowd_rounds=1,
    crowd_seconds=0.5,
    kept_turns=100,
    byte_lengths=(10, 5_000),
    byte_turns=5,
    patience=20.0,
)
TINY = Plan(
    lengths=(1, 30),
    rounds=2,
    repeat=3,
    crowds={1: 5, 8: 5},
    crowd_rounds=1,
    kept_turns=10,
    byte_lengths=(10, 30),
    byte_turns=2,
)
