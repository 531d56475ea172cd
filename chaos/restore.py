"""A Redis that comes back without its data, under writers that live: what they held is there again.

No ledger can promise that for writers that died, so this is a trial of its own.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from .crew import Member, crew
from .stage import Stage, staged
from .verdict import Verdict, judge

WRITERS = 3
PATIENCE = 10.0  # seconds
AOF = "appendonlydir"
# More than a layer below the session itself remembers of its turns, so that what is held there is not enough.
TURNS = 60

Loss = Callable[[Stage, Sequence[Member]], Awaitable[None]]


async def restore(folder: Path, seed: int) -> dict[str, Verdict]:
    """Lose the data in each way; what was found after each writer has saved in each session again.

    Twice, with a replay in between: where the processors are busy the first save may be journalled, and the journal
    knows only the last turns of a session, its holder all.
    """
    verdicts = {}
    for number, (name, lose) in enumerate(LOSSES.items()):
        part = folder / f"restore-{number}"
        async with staged(part) as stage, crew(stage, seed, size=WRITERS, own=1, shared=2, pause=1) as members:
            await _all_say(members, TURNS)
            await lose(stage, members)
            for _ in range(2):
                await stage.nothing_waits(PATIENCE)
                await _all_say(members, 1)
            await stage.nothing_waits(PATIENCE)
            verdicts[name] = await judge(stage.server.url, stage.all_ledgers(), part)
    return verdicts


async def _flush(stage: Stage, members: Sequence[Member]) -> None:
    await stage.command("FLUSHALL")


async def _go_back(stage: Stage, members: Sequence[Member]) -> None:
    """Restart with the files as they were some turns ago."""
    await _copy_files(stage)
    await _all_say(members, TURNS)
    await _put_back(stage)


async def _go_back_in_an_outage(stage: Stage, members: Sequence[Member]) -> None:
    """The same, and the writers go on while Redis is down: the journal finds an older Redis than it left."""
    await _copy_files(stage)
    await _all_say(members, TURNS)
    await asyncio.to_thread(stage.server.stop)
    await _all_say(members, 5)
    await _put_back(stage)


LOSSES: dict[str, Loss] = {
    "FLUSHALL": _flush,
    "an older copy": _go_back,
    "an older copy, after an outage": _go_back_in_an_outage,
}


async def _copy_files(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.stop)
    await asyncio.to_thread(shutil.copytree, stage.server.data / AOF, stage.folder / AOF)
    await asyncio.to_thread(stage.server.start)


async def _put_back(stage: Stage) -> None:
    await asyncio.to_thread(stage.server.stop)
    await asyncio.to_thread(shutil.rmtree, stage.server.data / AOF)
    await asyncio.to_thread(shutil.copytree, stage.folder / AOF, stage.server.data / AOF)
    await asyncio.to_thread(stage.server.start)


async def _all_say(members: Sequence[Member], turns: int) -> None:
    await asyncio.gather(*(member.say(turns) for member in members))
