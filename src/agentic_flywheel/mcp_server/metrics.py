"""Figures of a server in the text format of Prometheus, version 0.0.4; no session's id, no word of content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from .. import __version__
from ..manager import Health
from ..manager.meter import Meter
from ..manager.results import LoadState, Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STATES = ("ok", "replaying", "unavailable", "misconfigured", "off")
BREAKER_STATES = ("closed", "half-open", "open")


class Sample(NamedTuple):
    """A figure: the end of its name (``_sum``), its labels, its value."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(NamedTuple):
    """Figures of one name."""

    name: str
    kind: Literal["counter", "gauge", "summary"]
    help: str
    samples: Iterable[Sample]


def families(health: Health, meter: Meter) -> Iterator[Family]:
    """What is known of a server: what it did since it started, and how its store is now."""
    yield Family("flywheel_build_info", "gauge", "The version.", [Sample(1, {"version": __version__})])
    yield _outcomes(
        "flywheel_saves_total", "Saves of sessions and executions, by outcome.", meter, get_args(Outcome)
    )
    yield _outcomes("flywheel_loads_total", "Loads of sessions, by what was found.", meter, get_args(LoadState))
    yield _one_of("flywheel_store_state", "How the store is: 1 at its state.", STATES, health.state)
    if health.breaker is not None:
        yield _one_of(
            "flywheel_breaker_state", "The circuit breaker: 1 at its state.", BREAKER_STATES, health.breaker
        )
    yield from _journal(health)
    large = len(health.large_sessions)
    yield _gauge("flywheel_large_sessions", "Sessions that this process wrote and that are near the limit.", large)
    yield Family("flywheel_call_duration_seconds", "summary", _DURATIONS, list(_durations(meter)))


_DURATIONS = "How long loads and saves took; the quantiles are of the last 1000 of each."


def _journal(health: Health) -> Iterator[Family]:
    yield _gauge("flywheel_journal_pending", "Entries that wait in the journal.", health.pending)
    yield _gauge("flywheel_journal_pending_bytes", "Bytes that wait in the journal.", health.pending_bytes)
    yield _gauge("flywheel_journal_refused", "Entries of the journal that the store did not take.", health.refused)
    if health.oldest_pending is not None:
        text = "When the oldest entry of the journal was accepted, in seconds since 1970."
        yield _gauge("flywheel_journal_oldest_timestamp_seconds", text, health.oldest_pending)


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name, "gauge", text, [Sample(value)])


def _outcomes(name: str, text: str, meter: Meter, outcomes: Iterable[str]) -> Family:
    return Family(name, "counter", text, [Sample(meter.counts[word], {"outcome": word}) for word in outcomes])


def _one_of(name: str, text: str, states: Iterable[str], state: str) -> Family:
    return Family(name, "gauge", text, [Sample(int(each == state), {"state": each}) for each in states])


def _durations(meter: Meter) -> Iterator[Sample]:
    for call, quantiles in meter.latencies_ms().items():
        for name, milliseconds in quantiles.items():
            yield Sample(milliseconds / 1000, {"call": call, "quantile": f"0.{name[1:].rstrip('0')}"})
        yield Sample(meter.seconds[call], {"call": call}, "_sum")
        yield Sample(meter.calls[call], {"call": call}, "_count")


def exposition(found: Iterable[Family]) -> str:
    """Figures as text, a line for each."""
    lines: list[str] = []
    for family in found:
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for sample in family.samples:
            lines.append(f"{family.name}{sample.suffix}{_labels(sample.labels)} {sample.value!r}")
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
