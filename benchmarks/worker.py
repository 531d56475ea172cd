"""The process of one contestant: takes orders as lines of JSON, answers each with one.

It runs with the interpreter of the contestant's own environment, so only the standard library is imported here.
An order is an object with ``do``, the name of a method of `Worker`, and its arguments; the answer has ``values``
(and ``late``, how many turns were accepted before they were in the store) or ``error``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from .contestants import ENTRIES
from .crowds import interleaved, rate
from .peers.base import Contestant, Conversation
from .turns import turns

LAST = 20  # turns of a resumed session


class Worker:
    """Does with one contestant what it is told; times are in seconds."""

    def __init__(self, make: Callable[[], Contestant]) -> None:
        self.make = make
        self.contestant = make()
        self.opened: list[Conversation] = []
        self.length = 0
        self.saved = 0

    async def start(self) -> Sequence[float]:
        """Connect."""
        await self.contestant.start()
        return []

    async def prepare(self, label: str, length: int, sessions: int) -> Sequence[float]:
        """Make sessions of some length and open them; what follows is done with these."""
        self.opened = []
        self.length, self.saved = length, 0
        history = turns(label, length)
        for place in range(sessions):
            session_id = f"{label}-{place}"
            await self.contestant.fill(session_id, history)
            self.opened.append(await self.contestant.open(session_id))
        return []

    async def save(self, repeat: int, seconds: float) -> Sequence[float]:
        """How long each of some saves took; one turn each, the sessions in turn."""
        new = turns("new", repeat, start=self.saved)
        conversations = islice(cycle(self.opened), self.saved % len(self.opened), None)
        calls = (lambda c=c, t=t: c.save(t) for c, t in zip(conversations, new, strict=False))
        times = await _timed(calls, seconds)
        self.saved += len(times)
        return times

    async def load_all(self, repeat: int, seconds: float) -> Sequence[float]:
        """How long it took to load a whole session."""
        return await self._loads(lambda c: c.load_all(), self.length, repeat, seconds)

    async def load_last(self, repeat: int, seconds: float) -> Sequence[float]:
        """How long it took to load the last turns of a session."""
        return await self._loads(lambda c: c.load_last(LAST), min(LAST, self.length), repeat, seconds)

    async def read_all(self, repeat: int, seconds: float) -> Sequence[float]:
        """How long it took to load a whole session and to read each answer in it."""

        async def read(conversation: Conversation) -> None:
            conversation.answers(await conversation.load_all())

        calls = (lambda c=c: read(c) for c in islice(cycle(self.opened), repeat))
        return await _timed(calls, seconds)

    async def _loads(
        self, load: Callable[[Conversation], Awaitable[Any]], least: int, repeat: int, seconds: float
    ) -> Sequence[float]:
        """Times of loads, after one that is checked to give what it should."""
        first = self.opened[0]
        found = len(first.answers(await load(first)))
        if found < least:
            raise RuntimeError(f"gave {found} turns of {least}")
        calls = (lambda c=c: load(c) for c in islice(cycle(self.opened), repeat))
        return await _timed(calls, seconds)

    async def small(self, repeat: int) -> Sequence[float]:
        """What a small session takes, in PINGs; for ours."""
        ours: Any = self.contestant
        return [await ours.small(repeat)]

    async def crowd(self, label: str, sessions: int, turns_each: int, seconds: float) -> Sequence[float]:
        """Turns per second, once, over sessions that are written at the same time."""
        opened = [await self.contestant.open(f"{label}-{place}") for place in range(sessions)]
        return [await rate(self.contestant, opened, turns_each, seconds)]

    async def keep(self, label: str, turns_each: int) -> Sequence[float]:
        """How many turns are there after two writers have added some to one session, interleaved."""
        return [await interleaved(self.make, label, turns_each)]

    async def close(self) -> Sequence[float]:
        """Close the contestant."""
        await self.contestant.close()
        return []


async def _timed(calls: Any, seconds: float) -> list[float]:
    """How long each call took, until there are no more or the time is up; one is always made."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    for call in calls:
        start = time.perf_counter()
        await call()
        stop = time.perf_counter()
        times.append(stop - start)
        if stop > end:
            break
    return times


async def _answer(worker: Worker, order: dict[str, Any]) -> dict[str, Any]:
    try:
        values = await getattr(worker, order.pop("do"))(**order)
        return {"values": values, "late": await worker.contestant.settled()}
    except Exception as error:
        return {
            "error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error) else ''}"
        }


async def _serve(make: Callable[[], Contestant], answers: Any) -> None:
    try:
        worker = Worker(make)
        refusal = None
    except Exception as error:
        refusal = {"error": f"{type(error).__name__}: {error}"}
    while order := await asyncio.to_thread(sys.stdin.readline):
        answer = refusal or await _answer(worker, json.loads(order))
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Serve the contestant that the command line names, with the server's URL and a folder for files."""
    name, url, folder = sys.argv[1:]
    # What a library prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    (entry,) = (entry for entry in ENTRIES if entry.name == name)
    asyncio.run(_serve(lambda: entry.make()(url, Path(folder)), answers))


if __name__ == "__main__":
    main()
