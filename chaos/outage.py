"""What an outage costs: a save while the breaker is open, and the time until all that waited is in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .crew import Member, crew
from .ledger import Answer, notes_in
from .stage import staged
from .verdict import Verdict, judge

WRITERS = 2
SESSIONS = 5  # of each writer: one shared, the rest its own
WARM_UP = 5
PATIENCE = 30.0  # seconds
OPENING = 3  # turns of each session after which the breaker is open for sure


@dataclass
class Outage:
    """Times of a save in milliseconds, recovery in seconds, ``waited`` is how many turns were pending."""

    healthy_ms: float = 0.0
    journalled_ms: float = 0.0
    waited: int = 0
    recovery: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)


async def outage(folder: Path, seed: int, *, turns: int) -> Outage:
    """Stop Redis until so many turns wait, and start it again."""
    result = Outage()
    each = turns // (WRITERS * SESSIONS)
    async with staged(folder) as stage:
        # A healthy save is timed with what Redis does by default: waiting for its disk would flatter the other.
        await stage.command("CONFIG", "SET", "appendfsync", "everysec")
        async with crew(stage, seed, size=WRITERS, own=SESSIONS - 1, shared=1, pause=1) as members:
            await _say(members, WARM_UP)
            result.healthy_ms = await _median_of(members, each)
            await asyncio.to_thread(stage.server.kill)
            await _say(members, OPENING)
            result.journalled_ms = await _median_of(members, each - OPENING)
            result.waited = await stage.waiting()
            await asyncio.to_thread(stage.server.start)
            result.recovery = await stage.nothing_waits(PATIENCE)
            await asyncio.gather(*(member.leave() for member in members))
        result.verdict = await judge(stage.server.url, stage.all_ledgers(), folder)
    return result


async def _median_of(members: Sequence[Member], turns: int) -> float:
    """Of the saves of so many turns in each session; one writer after the other, so that they do not compete."""
    before = [len(_saves(member)) for member in members]
    for member in members:
        await member.say(turns)
    new = [save for member, count in zip(members, before, strict=True) for save in _saves(member)[count:]]
    return median(save.wait.ms for save in new)


def _saves(member: Member) -> list[Answer]:
    return [note for note in notes_in(member.ledger) if isinstance(note, Answer)]


async def _say(members: Sequence[Member], turns: int) -> None:
    await asyncio.gather(*(member.say(turns) for member in members))
