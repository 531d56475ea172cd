"""The run: every measurement goes round all contestants, again and again, so that drift hits all alike."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .contestants import OURS, Entry
from .crew import Answer, Crew, Failed
from .environments import interpreter, versions
from .plan import LATENCIES, Plan
from .results import Results
from .server import SharedServer


class Schedule:
    """One run over a server, with a folder for the contestants' files."""

    def __init__(self, plan: Plan, server: SharedServer, folder: Path) -> None:
        self.plan = plan
        self.server = server
        self.folder = folder
        self.crews: list[Crew] = []
        self.results = Results([])

    async def run(self, entries: Sequence[Entry]) -> Results:
        """All measurements of all contestants."""
        self.results = Results(list(entries))
        async with self._assembled(entries):
            await self._count_bytes()
            for length in self.plan.lengths:
                await self._time_calls(length)
            for sessions in self.plan.crowds:
                await self._time_crowd(sessions)
            await self._count_kept()
        return self.results

    @asynccontextmanager
    async def _assembled(self, entries: Sequence[Entry]) -> AsyncIterator[None]:
        """The contestants that can be installed and started; the reason for each other one."""
        try:
            for entry in entries:
                try:
                    self.crews.append(await self._start(entry))
                    self.results.versions[entry.name] = versions(entry)
                except Failed as reason:
                    self.results.absent[entry.name] = str(reason)
            yield
        finally:
            for crew in self.crews:
                await crew.close()

    async def _start(self, entry: Entry) -> Crew:
        url = self.server.database(self._number(entry))
        return await Crew.start(entry, interpreter(entry), url, self.folder / entry.name, self.plan.patience)

    @property
    def _all_rounders(self) -> list[Crew]:
        return [crew for crew in self.crews if not crew.entry.crowds_only]

    def _number(self, entry: Entry) -> int:
        return self.results.entries.index(entry)

    async def _time_calls(self, length: int) -> None:
        """The latencies at one length of the session."""
        _say(f"sessions of {length:,} turns")
        ready = [crew for crew in self._all_rounders if await self._prepare(crew, length)]
        for measure in LATENCIES:
            await self._go_round(measure, length, ready)
        if length == self.plan.lengths[0]:
            await self._time_small([crew for crew in ready if crew.entry.name == OURS])

    async def _time_small(self, crews: Sequence[Crew]) -> None:
        """What a small session takes against PING."""
        for _ in range(self.plan.rounds):
            for crew in crews:
                await self._measure(crew, "small", 1, self.plan.rounds, repeat=self.plan.calls)

    async def _prepare(self, crew: Crew, length: int) -> bool:
        """Make a contestant's sessions; if it cannot, none of its latencies at this length can be measured."""
        sessions = self.plan.sessions(length, self.plan.calls)
        try:
            await self._ask(crew, "prepare", label=f"length-{length}", length=length, sessions=sessions)
        except Failed as reason:
            for measure in LATENCIES:
                self.results.sample(measure, crew.entry.name, length, self.plan.calls).error = str(reason)
            return False
        finally:
            self.server.settle()
        return True

    async def _go_round(self, measure: str, length: int, ready: Sequence[Crew]) -> None:
        limits = {"repeat": self.plan.repeat, "seconds": self.plan.seconds}
        for number in range(self.plan.rounds):
            for crew in _rotated(ready, number):
                await self._measure(crew, measure, length, self.plan.calls, **limits)

    async def _measure(self, crew: Crew, what: str, size: int, wanted: int, **arguments: Any) -> None:
        """One turn of one contestant; after a failure it has no further one at this measurement."""
        sample = self.results.sample(what, crew.entry.name, size, wanted)
        if sample.error is None:
            try:
                sample.add(await self._ask(crew, what, **arguments))
            except Failed as reason:
                sample.error = str(reason)
            self.server.settle()

    async def _ask(self, crew: Crew, what: str, **arguments: Any) -> Answer:
        return await crew.ask(what, patience=self.plan.patience, **arguments)

    async def _time_crowd(self, sessions: int) -> None:
        """Turns per second of many sessions at once."""
        _say(f"{sessions} sessions at once")
        limits = {"turns_each": self.plan.crowds[sessions], "seconds": self.plan.crowd_seconds}
        for number in range(self.plan.crowd_rounds):
            label = f"crowd-{sessions}-{number}"
            for crew in _rotated(self.crews, number):
                wanted = self.plan.crowd_rounds
                await self._measure(crew, "crowd", sessions, wanted, label=label, sessions=sessions, **limits)

    async def _count_kept(self) -> None:
        """Turns kept of two interleaved writers."""
        _say("two interleaved writers")
        turns = self.plan.kept_turns
        for crew in self._all_rounders:
            await self._measure(crew, "keep", 2 * turns, 1, label="kept", turns_each=turns)

    async def _count_bytes(self) -> None:
        """Bytes per turn in memory and in the append-only file."""
        for length in self.plan.byte_lengths:
            _say(f"bytes at {length:,} turns")
            for crew in self._all_rounders:
                if not crew.entry.on_disk:
                    await self._count_bytes_of(crew, length)

    async def _count_bytes_of(self, crew: Crew, length: int) -> None:
        """Those of one contestant, alone in an empty database."""
        number, sessions = self._number(crew.entry), self.plan.sessions(length, self.plan.byte_turns)
        memory = self.results.sample("memory", crew.entry.name, length, 1)
        written = self.results.sample("file", crew.entry.name, length, 1)
        try:
            await self._ask(crew, "prepare", label=f"bytes-{length}", length=length, sessions=sessions)
            memory.values.append(self.server.memory_bytes(number) / (length * sessions))
            before = self.server.file_bytes()
            saves = await self._ask(crew, "save", repeat=self.plan.byte_turns, seconds=self.plan.seconds)
            written.values.append((self.server.file_bytes() - before) / len(saves.values))
        except Failed as reason:
            memory.error = written.error = str(reason)
        self.server.flush(number)
        self.server.settle()


def _rotated(crews: Sequence[Crew], number: int) -> list[Crew]:
    """All of them, each time beginning with another one."""
    start = number % len(crews) if crews else 0
    return [*crews[start:], *crews[:start]]


def _say(what: str) -> None:
    print(time.strftime("%H:%M:%S"), what, file=sys.stderr, flush=True)
