"""What a run measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from .contestants import Entry
from .crew import Answer


@dataclass(slots=True)
class Sample:
    """The values of one measurement: of one contestant, at one size (turns in the session, or sessions at once).

    ``wanted`` is how many values there were to be; the time limit may have left fewer. ``error`` says why there are
    none, or no more. ``late`` counts turns that were accepted before they were in the store.
    """

    measure: str
    contestant: str
    size: int
    wanted: int
    values: list[float] = field(default_factory=list)
    error: str | None = None
    late: int = 0

    def add(self, answer: Answer) -> None:
        """Add what a contestant measured."""
        self.values += answer.values
        self.late += answer.late

    def percentile(self, percent: int) -> float:
        """The value below which so many percent of the values lie."""
        if len(self.values) == 1:
            return self.values[0]
        return quantiles(self.values, n=100, method="inclusive")[percent - 1]

    @property
    def median(self) -> float:
        """The middle value."""
        return self.percentile(50)

    def summary(self) -> dict[str, Any]:
        """For programs."""
        told: dict[str, Any] = {
            name: getattr(self, name) for name in ("measure", "contestant", "size", "wanted", "error", "late")
        }
        if self.values:
            told |= {f"p{percent}": self.percentile(percent) for percent in (10, 50, 90, 99)}
        return told | {"count": len(self.values)}


@dataclass(slots=True)
class Results:
    """All samples of a run, who took part, and why somebody did not."""

    entries: list[Entry]
    absent: dict[str, str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    circumstances: dict[str, Any] = field(default_factory=dict)
    _samples: dict[tuple[str, str, int], Sample] = field(default_factory=dict)

    def sample(self, measure: str, contestant: str, size: int, wanted: int) -> Sample:
        """The sample to add values to."""
        key = (measure, contestant, size)
        return self._samples.setdefault(key, Sample(measure, contestant, size, wanted))

    def get(self, measure: str, contestant: str, size: int) -> Sample | None:
        """The sample that was measured, if it was tried."""
        return self._samples.get((measure, contestant, size))

    def median(self, measure: str, contestant: str, size: int) -> float | None:
        """The middle value of a sample; None if there is none."""
        sample = self.get(measure, contestant, size)
        return sample.median if sample and sample.values else None

    def sizes(self, measure: str) -> list[int]:
        """The sizes at which something was measured, ascending."""
        return sorted({size for name, _, size in self._samples if name == measure})

    def as_json(self) -> dict[str, Any]:
        """For programs. Times are in seconds, of this run on this machine; only their ratios carry over."""
        return {
            "circumstances": self.circumstances,
            "contestants": {entry.name: {"title": entry.title, **self._of(entry.name)} for entry in self.entries},
            "samples": [sample.summary() for sample in self._samples.values()],
        }

    def _of(self, name: str) -> dict[str, Any]:
        return {"versions": self.versions.get(name, {}), "not_run": self.absent.get(name)}
