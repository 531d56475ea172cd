"""The figures to reach, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .ledger import Answer, Load
from .outage import Outage
from .storm import Storm
from .verdict import Verdict

BUDGET_MS = 100
SLACK_MS = 50
RECOVERY_SECONDS = 5.0
OPEN_TO_HEALTHY = 3.0
SHOWN = 10  # cases of a miss that are named


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table. A required figure is missed below ``least`` or above ``most``.

    One about ``time`` says something only where nothing else keeps the processors busy.
    """

    name: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None
    time: bool = False

    @property
    def met(self) -> bool:
        """Whether what is required was reached."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def required(self) -> str:
        """What is required, for people."""
        if self.least is not None:
            return f">= {_shown(self.least)}{self.unit}"
        return f"<= {_shown(self.most)}{self.unit}" if self.most is not None else ""

    def __str__(self) -> str:
        mark = "" if self.met else "  MISSED"
        return f"{self.name:<58}{_shown(self.value) + self.unit:>12}{self.required:>14}{mark}"


def of_storm(storm: Storm, turns: int, faults: int) -> list[Figure]:
    """The figures of the long part."""
    verdict, count = storm.verdict, storm.verdict.outcomes
    recoveries = [recovery.seconds for recovery in storm.recoveries]
    return [
        Figure("faults", storm.faults.total(), least=faults),
        Figure("turns accepted", verdict.accepted, least=turns),
        Figure("  stored", count["stored"]),
        Figure("  journalled", count["journalled"]),
        Figure("turns refused", count["refused"]),
        Figure("turns whose writer was killed before the answer", verdict.unanswered),
        *_of_verdict(verdict),
        *_of_waits(verdict.waits),
        Figure("recoveries that were timed", len(recoveries)),
        Figure("  median", median(recoveries) if recoveries else 0, " s"),
        Figure("  longest", max(recoveries, default=0), " s", most=RECOVERY_SECONDS, time=True),
        Figure("entries pending at the most", storm.most_waiting),
        Figure("entries that the store would not take", len(storm.refused_by_store), most=0),
        Figure("last replay, after all writers had left", storm.settled, " s"),
        Figure("time of the whole", storm.seconds, " s"),
    ]


def of_outage(outage: Outage) -> list[Figure]:
    """The figures of an outage."""
    ratio = outage.journalled_ms / outage.healthy_ms
    return [
        Figure("healthy save, median (appendfsync everysec)", outage.healthy_ms, " ms"),
        Figure("save with the breaker open, median", outage.journalled_ms, " ms"),
        Figure("  as a multiple of a healthy one", ratio, most=OPEN_TO_HEALTHY, time=True),
        Figure("turns pending when Redis returned", outage.waited),
        Figure("  until all were in Redis", outage.recovery, " s", most=RECOVERY_SECONDS, time=True),
        Figure("  lost, doubled, reordered, altered or raised", len(outage.verdict.turns_amiss), most=0),
    ]


def of_restore(verdicts: Mapping[str, Verdict]) -> list[Figure]:
    """The figures of a Redis that lost its data."""
    return [figure for name, verdict in verdicts.items() for figure in _of_loss(name, verdict)]


def _of_loss(name: str, verdict: Verdict) -> list[Figure]:
    # Of a shared session each holder knows the others' keys only as they were at its last save.
    own = [case for case in verdict.forgotten_context if "-own-" in case]
    return [
        Figure(f"{name}: turns held by writers", verdict.accepted),
        Figure("  lost, doubled, reordered, altered or raised", len(verdict.turns_amiss), most=0),
        Figure("  context keys lost, in sessions of one holder", len(own), most=0),
    ]


def _of_verdict(verdict: Verdict) -> list[Figure]:
    found = {
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "reordered": verdict.reordered,
        "altered": verdict.altered,
        "exceptions into a caller": verdict.exceptions,
        "sessions misread (absent or damaged, though stored)": verdict.misread,
        "context keys that lost their last value": verdict.forgotten_context,
        "executions lacking": verdict.without_execution,
    }
    return [Figure(name, len(cases), most=0) for name, cases in found.items()]


def _of_waits(waits: Sequence[Answer | Load]) -> list[Figure]:
    ordered = sorted((note.wait for note in waits), key=lambda wait: wait.ms)
    worst, late = ordered[-1], ordered[int(len(ordered) * 0.99)]
    saves = [note.wait.ms for note in waits if isinstance(note, Answer)]
    return [
        Figure("longest that a caller waited", worst.ms, " ms", most=BUDGET_MS + SLACK_MS, time=True),
        Figure("  of it in the queue for a processor", worst.queued, " ms"),
        Figure("  99th percentile", late.ms, " ms"),
        Figure("  median of a save", median(saves), " ms"),
        Figure("waits over the bar", sum(wait.ms > BUDGET_MS + SLACK_MS for wait in ordered)),
    ]


def cases(verdict: Verdict) -> list[str]:
    """What was missed, by name, for whoever looks for the cause."""
    found = {
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "reordered": verdict.reordered,
        "altered": verdict.altered,
        "raised": verdict.exceptions,
        "misread": verdict.misread,
        "context": verdict.forgotten_context,
        "no execution": verdict.without_execution,
    }
    return [f"{name}: {case}" for name, each in found.items() for case in each[:SHOWN]]


def as_text(seed: int, faults: Mapping[str, int], figures: Sequence[Figure]) -> str:
    """The table."""
    lines = [f"seed {seed}", "", *(f"{kind:<58}{count:>12}" for kind, count in sorted(faults.items())), ""]
    return "\n".join([*lines, f"{'figure':<58}{'reached':>12}{'required':>14}", *map(str, figures)])


def as_json(seed: int, faults: Mapping[str, int], figures: Sequence[Figure]) -> str:
    """The same for programs."""
    rows: list[dict[str, Any]] = [
        {
            "name": each.name.strip(),
            "value": each.value if each.value < float("inf") else None,
            "unit": each.unit.strip(),
            "required": each.required,
            "met": each.met,
        }
        for each in figures
    ]
    return json.dumps({"seed": seed, "faults": dict(sorted(faults.items())), "figures": rows}, indent=1)


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
