"""The results as text: a block for each measurement, and the figures to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .contestants import FLOOR, FLOOR_STRING, Entry
from .goals import Goal
from .plan import LATENCIES
from .results import Results, Sample

NAME, CELL = 28, 16


@dataclass(frozen=True, slots=True)
class Block:
    """How one measurement is shown: its heading, what the ratios refer to, and how a value is written."""

    measure: str
    heading: str
    floor: str
    columns: str
    shown: Callable[[float], str]


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _whole(value: float) -> str:
    return f"{value / 1e6:,.1f}M" if value >= 1e6 else f"{value:,.0f}"


LATENCY_HEADINGS = {
    "save": ("save one turn", FLOOR),
    "load_all": ("load all, as the API gives it", FLOOR_STRING),
    "read_all": ("load all and read each answer", FLOOR_STRING),
    "load_last": ("load the last 20 turns", FLOOR),
}

BLOCKS = (
    *(
        Block(name, f"{LATENCY_HEADINGS[name][0]} (ms)", LATENCY_HEADINGS[name][1], "turns", _ms)
        for name in LATENCIES
    ),
    Block("crowd", "turns per second", FLOOR, "sessions at once", _whole),
    Block("keep", "turns kept of two interleaved writers", FLOOR, "turns added", _whole),
    Block("memory", "bytes of memory per turn", FLOOR, "turns", _whole),
    Block("file", "bytes of append-only file per added turn", FLOOR, "turns", _whole),
)


def as_text(results: Results, goals: Sequence[Goal]) -> str:
    """Everything that a reader of the run needs."""
    parts = [_opening(results), *(_block(results, block) for block in BLOCKS), _not_run(results), of_goals(goals)]
    return "\n\n".join(part for part in parts if part)


def _opening(results: Results) -> str:
    told = ", ".join(f"{name} {value}" for name, value in results.circumstances.items())
    return (
        f"{told}\n"
        "Absolute values are of this run on this machine; compare ratios. A cell is the median and its multiple\n"
        "of the floor, below it p10-p90; n is shown where the time limit left fewer values than were wanted."
    )


def _block(results: Results, block: Block) -> str:
    sizes = results.sizes(block.measure)
    if not sizes:
        return ""
    heading = f"{block.heading:<{NAME + 14}}{'against ' + _title(results, block.floor):<40}".rstrip()
    columns = f"{block.columns:<{NAME}}" + "".join(f"{size:>{CELL},}" for size in sizes)
    rows = [line for entry in results.entries for line in _rows(results, block, entry, sizes)]
    return "\n".join([heading, columns, "-" * len(columns), *rows])


def _title(results: Results, name: str) -> str:
    return next((entry.title for entry in results.entries if entry.name == name), name)


def _rows(results: Results, block: Block, entry: Entry, sizes: Sequence[int]) -> Iterator[str]:
    samples = [results.get(block.measure, entry.name, size) for size in sizes]
    if not any(samples):
        return
    floors = [results.median(block.measure, block.floor, size) for size in sizes]
    medians = [_median(sample, floor, block) for sample, floor in zip(samples, floors, strict=True)]
    yield _line(entry.title, medians)
    if any(sample and len(sample.values) > 1 for sample in samples):
        yield _line("  p10-p90", [_spread(sample, block) for sample in samples])
        if entry.ours and block.measure in LATENCIES:
            yield _line("  p99", [block.shown(s.percentile(99)) if s and s.values else "" for s in samples])
    yield from _remarks(samples)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:<{NAME}}" + "".join(f"{cell:>{CELL}}" for cell in cells)


def _median(sample: Sample | None, floor: float | None, block: Block) -> str:
    if sample is None:
        return "-"
    if not sample.values:
        return "failed"
    ratio = f" x{_multiple(sample.median / floor)}" if floor else ""
    return block.shown(sample.median) + ratio


def _multiple(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"


def _spread(sample: Sample | None, block: Block) -> str:
    if sample is None or not sample.values:
        return ""
    count = f" n={len(sample.values)}" if len(sample.values) < sample.wanted else ""
    return f"{block.shown(sample.percentile(10))}-{block.shown(sample.percentile(90))}{count}"


def _remarks(samples: Sequence[Sample | None]) -> Iterator[str]:
    """Why there are no values, or no more."""
    for reason in {sample.error: None for sample in samples if sample and sample.error}:
        sizes = ", ".join(f"{sample.size:,}" for sample in samples if sample and sample.error == reason)
        yield f"  at {sizes}: {reason}"
    for sample in samples:
        if sample and sample.late:
            yield f"  at {sample.size:,}: {sample.late:,} turns were in the journal before they were in the store"


def _not_run(results: Results) -> str:
    if not results.absent:
        return ""
    lines = [f"{_title(results, name):<{NAME}}{reason}" for name, reason in results.absent.items()]
    return "\n".join(["not run", *lines])


def of_goals(goals: Sequence[Goal]) -> str:
    """The figures to reach, and which were."""
    width = max(len(goal.what) for goal in goals)
    lines = [f"{'figure':<{width}}{'goal':>16}{'reached':>10}  "]
    for goal in goals:
        reached = f"{goal.reached:,.4g}" if goal.reached is not None else "-"
        verdict = {True: "held", False: "MISSED", None: "not measured"}[goal.held]
        where = f"  ({goal.where})" if goal.where else ""
        lines.append(f"{goal.what:<{width}}{goal.required:>16}{reached:>10}  {verdict}{where}")
    return "\n".join(lines)
