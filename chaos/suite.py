"""All parts of the suite one after the other, and what they found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from . import figures
from .figures import Figure
from .outage import outage
from .restore import restore
from .storm import storm


@dataclass
class Result:
    """The table of a run, and each case of a miss."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    figures: list[Figure] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)

    def missed(self, *, time: bool = True) -> list[Figure]:
        """The figures that were not reached; without ``time``, only those that a busy machine cannot spoil."""
        return [figure for figure in self.figures if not figure.met and (time or not figure.time)]

    def __str__(self) -> str:
        return figures.as_text(self.seed, self.faults, self.figures)

    def json(self) -> str:
        """The table for programs."""
        return figures.as_json(self.seed, self.faults, self.figures)


async def run(folder: Path, seed: int, *, turns: int, faults: int, pending: int, pause: float) -> Result:
    """The storm, an outage with ``pending`` turns, and the restores; in a folder that is empty."""
    result = Result(seed)
    blown = await storm(folder / "storm", seed, turns=turns, faults=faults, pause=pause)
    result.faults = blown.faults
    result.figures += figures.of_storm(blown, turns, faults)
    gone = await outage(folder / "outage", seed, turns=pending)
    result.figures += figures.of_outage(gone)
    back = await restore(folder, seed)
    result.figures += figures.of_restore(back)
    for verdict in (blown.verdict, gone.verdict, *back.values()):
        result.cases += figures.cases(verdict)
    result.cases += [f"set aside: {reason}" for reason in blown.refused_by_store]
    result.cases += [
        f"slow recovery: {each}" for each in blown.recoveries if each.seconds > figures.RECOVERY_SECONDS
    ]
    return result
