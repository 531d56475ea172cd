"""Many writers at once: how fast they are together, and whether they lose each other's turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from .peers.base import Contestant, Conversation
from .turns import Turn, turns

SHORT = 200  # bytes of a turn, where it is only counted what is kept


async def rate(contestant: Contestant, opened: Sequence[Conversation], turns_each: int, seconds: float) -> float:
    """Turns per second over all sessions; each saves one turn after another, until it has or the time is up.

    A first turn of each comes before: it opens the connections. The time ends when all turns are in the store.
    """
    first, *new = turns("crowd", 1 + turns_each)
    await asyncio.gather(*(conversation.save(first) for conversation in opened))
    start = time.perf_counter()
    saved = await asyncio.gather(*(_write(conversation, new, start + seconds) for conversation in opened))
    await contestant.settled()
    return sum(saved) / (time.perf_counter() - start)


async def _write(conversation: Conversation, new: Sequence[Turn], end: float) -> int:
    for count, turn in enumerate(new, 1):
        await conversation.save(turn)
        if time.perf_counter() > end:
            return count
    return len(new)


async def interleaved(make: Callable[[], Contestant], session_id: str, turns_each: int) -> int:
    """How many different turns a session has after two writers, who know nothing of each other, added theirs.

    Each has a client of its own and opened the session before the first turn was added.
    """
    writers = [make(), make()]
    for writer in writers:
        await writer.start()
    try:
        await writers[0].fill(session_id, turns("first", 1, size=SHORT))
        opened = [await writer.open(session_id) for writer in writers]
        news = [turns(f"writer{number}", turns_each, size=SHORT) for number in range(2)]
        pairs = zip(opened, news, strict=True)
        await asyncio.gather(*(_write(conversation, new, float("inf")) for conversation, new in pairs))
        for writer in writers:
            await writer.settled()
        return await _kept(writers[0], session_id)
    finally:
        for writer in writers:
            await writer.close()


async def _kept(contestant: Contestant, session_id: str) -> int:
    """How many turns of the two writers are there."""
    reader = await contestant.open(session_id)
    answers = reader.answers(await reader.load_all())
    return len({answer.split()[0] for answer in answers if answer.startswith("turn-writer")})
