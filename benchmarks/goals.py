"""The figures to reach, computed from one run: ratios of its medians, and the turns kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .contestants import ENTRIES, FLOOR, FLOOR_STRING, OURS, SHARED, SINGLE
from .results import Results

RIVAL = "openai"


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure. ``reached`` is None where the run has not what it is computed from."""

    what: str
    bound: float
    reached: float | None
    at_least: bool = False
    where: str = ""

    @property
    def held(self) -> bool | None:
        """Whether it was reached; None if that is not known."""
        if self.reached is None:
            return None
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound

    @property
    def required(self) -> str:
        """The bound, for people."""
        return f"at {'least' if self.at_least else 'most'} {self.bound:,g}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "held": self.held}


def goals_of(results: Results) -> list[Goal]:
    """All figures of the plan that was run."""
    return [make(results) for make in _GOALS]


def _save_at_any_length(results: Results) -> Goal:
    short, long = _ends(results, "save")
    reached = _ratio(results.median("save", OURS, long), results.median("save", OURS, short))
    return Goal(f"save a turn at {long:,} turns, against at {short:,}", 1.2, reached)


def _save_against_the_floor(results: Results) -> Goal:
    ratios = _at_lengths(results, "save", OURS, FLOOR)
    worst = max(ratios, key=lambda length: ratios[length], default=None)
    where = f"worst of all lengths, at {worst:,}" if worst is not None else ""
    reached = ratios[worst] if worst is not None else None
    return Goal("save a turn, against a bare RPUSH of the same bytes", 1.8, reached, where=where)


def _resume_at_any_length(results: Results) -> Goal:
    _, long = _ends(results, "load_last")
    short = min(results.sizes("load_last"), key=lambda length: abs(length - 100), default=0)
    reached = _ratio(results.median("load_last", OURS, long), results.median("load_last", OURS, short))
    return Goal(f"resume with the last 20 turns at {long:,} turns, against at {short:,}", 1.2, reached)


def _load_all_against_the_floor(results: Results) -> Goal:
    length = min(results.sizes("load_all"), key=lambda each: abs(each - 5_000), default=0)
    reached = _ratio(results.median("load_all", OURS, length), results.median("load_all", FLOOR_STRING, length))
    return Goal(f"load all of {length:,} turns, against a bare GET of the same bytes", 1.6, reached)


def _small_session_against_ping(results: Results) -> Goal:
    return Goal("save and load of a small session, against PING", 3, results.median("small", OURS, 1))


def _crowd_against_single_calls(results: Results) -> Goal:
    crowd = max(results.sizes("crowd"), default=0)
    rate = {name: results.median("crowd", name, crowd) for name in (SHARED, SINGLE, OURS, FLOOR)}
    whole = _ratio(rate[OURS], rate[FLOOR])
    where = f"whole saves, against RPUSHes on a pool: {whole:.2f}" if whole else ""
    what = f"turns/s with {crowd} sessions on shared pipelines, against a call each on a pool"
    return Goal(what, 3, _ratio(rate[SHARED], rate[SINGLE]), at_least=True, where=where)


def _save_against_whole_documents(results: Results) -> Goal:
    length = min(results.sizes("save"), key=lambda each: abs(each - 1_000), default=0)
    peers = {entry.title: results.median("save", entry.name, length) for entry in ENTRIES if entry.whole}
    times = {title: time for title, time in peers.items() if time is not None}
    best = min(times, key=lambda title: times[title], default="")
    reached = _ratio(times.get(best), results.median("save", OURS, length))
    what = f"save at {length:,} turns, times cheaper than the best whole-document peer"
    return Goal(what, 10, reached, at_least=True, where=best)


def _save_against_the_rival(results: Results) -> Goal:
    return _against_the_rival(results, "save", "save a turn")


def _resume_against_the_rival(results: Results) -> Goal:
    return _against_the_rival(results, "load_last", "load the last 20")


def _against_the_rival(results: Results, measure: str, what: str) -> Goal:
    ratios = _at_lengths(results, measure, OURS, RIVAL)
    lost = [f"{length:,}" for length, ratio in ratios.items() if ratio >= 1]
    where = f"dearer at {', '.join(lost)} turns" if lost else "the worst of all lengths"
    return Goal(
        f"{what}, against openai-agents Redis", 1, max(ratios.values(), default=None), where=where if ratios else ""
    )


def _file_at_any_length(results: Results) -> Goal:
    short, long = _ends(results, "file")
    reached = _ratio(results.median("file", OURS, long), results.median("file", OURS, short))
    return Goal(f"append-only-file bytes per turn at {long:,} turns, against at {short:,}", 1.1, reached)


def _kept(results: Results) -> Goal:
    size = max(results.sizes("keep"), default=0)
    return Goal(
        f"turns kept of 2 x {size // 2} interleaved", size, results.median("keep", OURS, size), at_least=True
    )


_GOALS: tuple[Callable[[Results], Goal], ...] = (
    _save_at_any_length,
    _save_against_the_floor,
    _resume_at_any_length,
    _load_all_against_the_floor,
    _small_session_against_ping,
    _crowd_against_single_calls,
    _save_against_whole_documents,
    _save_against_the_rival,
    _resume_against_the_rival,
    _file_at_any_length,
    _kept,
)


def _ends(results: Results, measure: str) -> tuple[int, int]:
    sizes = results.sizes(measure) or [0]
    return sizes[0], sizes[-1]


def _at_lengths(results: Results, measure: str, one: str, other: str) -> dict[int, float]:
    ratios = {
        length: _ratio(results.median(measure, one, length), results.median(measure, other, length))
        for length in results.sizes(measure)
    }
    return {length: ratio for length, ratio in ratios.items() if ratio is not None}


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def missed(goals: Iterable[Goal]) -> list[Goal]:
    """Those that were not reached, or cannot be told."""
    return [goal for goal in goals if not goal.held]
