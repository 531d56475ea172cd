"""The latencies as plots: log-log, against the turns in the session."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from .contestants import FLOOR, FLOOR_STRING, OURS, Entry
from .results import Results
from .table import LATENCY_HEADINGS

PLOTTED = ("save", "load_all", "load_last")
_FLOORS = {"save": FLOOR, "load_all": FLOOR_STRING, "load_last": FLOOR}
_TEXT = {
    "svg.fonttype": "none",  # text stays text: smaller files, and a reader's own font
    "svg.hashsalt": "agentic-flywheel",  # the same results give the same file
    "font.family": "sans-serif",
    "font.size": 10,
}


def draw(results: Results, folder: Path) -> list[Path]:
    """An SVG file for each of the plotted latencies."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("svg")
    pyplot = import_module("matplotlib.pyplot")
    with pyplot.rc_context(_TEXT):
        return [_draw(pyplot, results, measure, folder / f"{measure}.svg") for measure in PLOTTED]


def _draw(pyplot: Any, results: Results, measure: str, path: Path) -> Path:
    figure, axes = pyplot.subplots(figsize=(8, 5))
    palette = pyplot.get_cmap("tab10").colors
    others = iter((*palette[:3], *palette[4:]))  # without its red, which is ours
    for entry in results.entries:
        if entry.name not in (FLOOR, FLOOR_STRING) or entry.name == _FLOORS[measure]:
            _curve(axes, results, measure, entry, others)
    axes.set(xscale="log", yscale="log", xlabel="turns in the session (2 KB each)", ylabel="ms, median and p10-p90")
    axes.set_title(LATENCY_HEADINGS[measure][0])
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    return path


def _curve(axes: Any, results: Results, measure: str, entry: Entry, others: Any) -> None:
    samples = [results.get(measure, entry.name, size) for size in results.sizes(measure)]
    there = [sample for sample in samples if sample and sample.values]
    if not there:
        return
    sizes = [sample.size for sample in there]
    middle, low, high = ([sample.percentile(p) * 1000 for sample in there] for p in (50, 10, 90))
    style = _style(entry) or {"color": next(others)}
    (line,) = axes.plot(sizes, middle, marker="o", markersize=3, label=entry.title, **style)
    axes.fill_between(sizes, low, high, color=line.get_color(), alpha=0.12, linewidth=0)


def _style(entry: Entry) -> dict[str, Any] | None:
    """Ours and the floor stand out; the peers share a palette."""
    if entry.name in (FLOOR, FLOOR_STRING):
        return {"color": "black", "linestyle": "--", "linewidth": 1.2}
    if not entry.ours:
        return None
    dash = {OURS: "-", "ours-flow": "--"}.get(entry.name, ":")
    return {"color": "crimson", "linestyle": dash, "linewidth": 2.4}
