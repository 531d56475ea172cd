"""A writer: a process of its own that does what the lines of its standard input say, and leaves at their end.

``talk``
    Talk in all sessions at once, with pauses, and load one afresh now and then; until the end.
``say N``
    Record and save N turns in each session, one after another; then answer ``done``.
``doom``
    Die by SIGKILL in the middle of the next save.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import msgspec

from agentic_flywheel.integrations.redis_manager import RedisSessionManager

from .conversation import LAST, Conversation
from .doom import Doom
from .ledger import Ledger

LOADS_AFRESH = 0.04  # of all moments; and as many times in part


class Part(msgspec.Struct, frozen=True):
    """What a writer is told when it starts. ``pause`` is the mean time between two turns, in seconds."""

    name: str
    url: str
    state: str
    ledger: str
    sessions: tuple[str, ...]
    seed: str
    pause: float


class Writer:
    """All conversations of one process."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._doom = Doom()
        self._end = asyncio.Event()
        self._talks: list[asyncio.Task[None]] = []
        self._dice = random.Random(part.seed)  # noqa: S311  # a run that can be repeated
        self._manager = RedisSessionManager(url=part.url, state_dir=part.state)
        ledger = Ledger(Path(part.ledger))
        self._conversations = [
            Conversation(self._manager, ledger, part.name, session_id, self._doom) for session_id in part.sessions
        ]

    async def obey(self, orders: asyncio.StreamReader) -> None:
        """Do what is ordered, to the end of the orders."""
        async with self._manager:
            for conversation in self._conversations:
                conversation.go_on_after(Path(self._part.ledger))
            while order := (await orders.readline()).decode().split():
                await self._do(*order)
            self._end.set()
            await asyncio.gather(*self._talks)

    async def _do(self, order: str, argument: str = "1") -> None:
        match order:
            case "talk":
                self._talks += [asyncio.create_task(self._talk(each)) for each in self._conversations]
            case "say":
                for _ in range(int(argument)):
                    for conversation in self._conversations:
                        await conversation.say(self._dice)
                print("done", flush=True)
            case "doom":
                self._doom.armed = True

    async def _talk(self, conversation: Conversation) -> None:
        while not self._end.is_set():
            chance = self._dice.random()
            if chance < LOADS_AFRESH:
                await conversation.load()
            elif chance < 2 * LOADS_AFRESH:
                await conversation.load(last=LAST)
            else:
                await conversation.say(self._dice)
            await asyncio.sleep(self._dice.expovariate(1 / self._part.pause))


async def main(part: Part) -> None:
    """Run a writer on the orders that come in."""
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    await Writer(part).obey(orders)


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Part)))
