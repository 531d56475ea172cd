"""The long part: writers talk while one fault follows the other."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .crew import Member, crew
from .faults import ON_STAGE, WRITER_KILLED, Fault, plan, writer_killed
from .ledger import Tally
from .patience import until
from .stage import Stage, staged
from .verdict import Verdict, judge

WRITERS = 4
RECOVERY_PATIENCE = 15.0  # seconds until a recovery that was waited for counts as none
LONGEST = 540.0  # seconds of talk; then the figures are judged as they are


@dataclass(frozen=True, slots=True)
class Recovery:
    """From the end of a fault, with so many entries pending, until nothing waited; in seconds."""

    fault: Fault
    pending: int
    seconds: float


@dataclass
class Storm:
    """What came of it."""

    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[Recovery] = field(default_factory=list)
    most_waiting: int = 0
    settled: float = 0.0
    seconds: float = 0.0
    refused_by_store: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)


async def storm(folder: Path, seed: int, *, turns: int, faults: int, pause: float) -> Storm:
    """Let it blow until so many turns were accepted and all faults are over; then judge."""
    result = Storm()
    begun = time.monotonic()
    async with staged(folder) as stage:
        async with crew(stage, seed, size=WRITERS, own=2, shared=2, pause=pause) as members:
            for member in members:
                await member.order("talk")
            tally = Tally(member.ledger for member in members)
            await _Weather(stage, members, tally, result).blow(plan(seed, faults), seed)
            await _said(tally, turns, patience=LONGEST - (time.monotonic() - begun))
            await asyncio.gather(*(member.leave() for member in members))
        result.settled = await stage.settle()
        result.most_waiting, result.refused_by_store = stage.most_waiting, await stage.refused()
        result.verdict = await judge(stage.server.url, stage.all_ledgers(), folder)
    result.seconds = time.monotonic() - begun
    return result


async def _said(tally: Tally, turns: int, *, patience: float) -> None:
    async def enough() -> bool:
        return tally.accepted() >= turns

    await until(enough, patience=patience, look=0.5)


@dataclass(frozen=True, slots=True)
class _Weather:
    """Two lanes of faults, so that writers are killed in calm moments and in the middle of other faults."""

    stage: Stage
    members: Sequence[Member]
    tally: Tally
    result: Storm

    async def blow(self, faults: Sequence[Fault], seed: int) -> None:
        """Inject all faults, one lane's one after the other."""
        deaths = [fault for fault in faults if fault.kind == WRITER_KILLED]
        others = [fault for fault in faults if fault.kind != WRITER_KILLED]
        dice = random.Random(f"{seed}-deaths")  # noqa: S311  # a run that can be repeated
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._kill_writers(deaths, dice, len(others) / max(len(deaths), 1)))
            lanes.create_task(self._hurt_stage(others))

    async def _kill_writers(self, faults: Sequence[Fault], dice: random.Random, spread: float) -> None:
        """``spread`` is how many times the calm is as long here, so that both lanes take about the same time."""
        for fault in faults:
            async with writer_killed(self.members, dice):
                await asyncio.sleep(fault.hold / 2)
            self.result.faults[fault.kind] += 1
            await asyncio.sleep(fault.calm * spread)

    async def _hurt_stage(self, faults: Sequence[Fault]) -> None:
        for number, fault in enumerate(faults, 1):
            async with ON_STAGE[fault.kind](self.stage, fault):
                await asyncio.sleep(fault.hold)
            self.result.faults[fault.kind] += 1
            await self._time_recovery(fault)
            await asyncio.sleep(fault.calm)
            if not number % 20:
                print(
                    f"chaos: {number} of {len(faults)} faults, {self.tally.accepted():,} turns accepted",
                    file=sys.stderr,
                    flush=True,
                )

    async def _time_recovery(self, fault: Fault) -> None:
        pending = await self.stage.waiting()
        if pending and fault.settles:
            seconds = await self.stage.nothing_waits(RECOVERY_PATIENCE)
            self.result.recoveries.append(Recovery(fault, pending, seconds))
