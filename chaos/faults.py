"""The faults: what is done to Redis, to the network and to the writers, and how it is undone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from .crew import Member
from .stage import Stage

SCRIPT = b"EVALSHA"  # every call on a session's document holds it
WRITER_KILLED = "SIGKILL of a writer in mid-save"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan. ``hold`` is how long it lasts and ``calm`` how long nothing follows it, in seconds.

    ``strength`` (0 to 1) is how bad it is, where a kind knows degrees. With ``settles`` nothing follows before
    all that waited is in Redis.
    """

    kind: str
    hold: float
    calm: float
    strength: float
    settles: bool


def plan(seed: int, count: int) -> list[Fault]:
    """The faults that a seed stands for: the kinds equally often, in an order of its own."""
    dice = random.Random(seed)  # noqa: S311  # a run that can be repeated
    kinds = [*ON_STAGE, WRITER_KILLED]
    order = [kinds[number % len(kinds)] for number in range(count)]
    dice.shuffle(order)
    return [
        Fault(kind, dice.uniform(0.05, 1.2), dice.uniform(0.1, 0.8), dice.random(), dice.random() < 0.5)
        for kind in order
    ]


@asynccontextmanager
async def _redis_killed(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    await asyncio.to_thread(stage.server.kill)
    yield
    await asyncio.to_thread(stage.server.start)


@asynccontextmanager
async def _redis_stopped(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    stage.server.pause()
    yield
    stage.server.resume()


@asynccontextmanager
async def _port_refused(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    stage.proxy.refuse()
    stage.proxy.reset()
    yield
    await stage.proxy.pass_through()


@asynccontextmanager
async def _connections_reset(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    stage.proxy.reset()
    yield


@asynccontextmanager
async def _answers_delayed(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    stage.proxy.delay(0.3 * fault.strength)  # from a slow network to one that no caller waits for
    yield
    await stage.proxy.pass_through()


@asynccontextmanager
async def _blackholed(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    stage.proxy.blackhole()
    yield
    await stage.proxy.pass_through()


def _spoiled(spoil: Callable[[Stage, int], None]) -> Kind:
    """A fault of the next answers to scripts: the server has applied what they answer."""

    @asynccontextmanager
    async def spoiled(stage: Stage, fault: Fault) -> AsyncIterator[None]:
        spoil(stage, 1 + int(4 * fault.strength))
        yield
        await stage.proxy.pass_through()

    return spoiled


@asynccontextmanager
async def _clients_killed(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    await stage.command("CLIENT", "KILL", "TYPE", "normal")
    yield


@asynccontextmanager
async def _writes_paused(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    await stage.command("CLIENT", "PAUSE", int(fault.hold * 1000), "WRITE")
    yield
    await stage.command("CLIENT", "UNPAUSE")


@asynccontextmanager
async def _scripts_flushed(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    await stage.command("SCRIPT", "FLUSH")
    yield


@asynccontextmanager
async def _out_of_memory(stage: Stage, fault: Fault) -> AsyncIterator[None]:
    await stage.command("CONFIG", "SET", "maxmemory", 1)
    yield
    await stage.command("CONFIG", "SET", "maxmemory", 0)


Kind = Callable[[Stage, Fault], AbstractAsyncContextManager[None]]

ON_STAGE: dict[str, Kind] = {
    "Redis: SIGKILL and restart": _redis_killed,
    "Redis: SIGSTOP and SIGCONT": _redis_stopped,
    "Redis: CLIENT KILL": _clients_killed,
    "Redis: CLIENT PAUSE WRITE": _writes_paused,
    "Redis: SCRIPT FLUSH": _scripts_flushed,
    "Redis: out of memory": _out_of_memory,
    "network: port refused": _port_refused,
    "network: connections reset": _connections_reset,
    "network: answers delayed": _answers_delayed,
    "network: blackhole": _blackholed,
    "network: answer lost": _spoiled(lambda stage, times: stage.proxy.cut_answer(times, of=SCRIPT)),
    "network: answer cut in half": _spoiled(lambda stage, times: stage.proxy.halve_answer(times, of=SCRIPT)),
    "network: garbage": _spoiled(lambda stage, times: stage.proxy.garble_answer(times, of=SCRIPT)),
}


@asynccontextmanager
async def writer_killed(crew: Sequence[Member], dice: random.Random) -> AsyncIterator[None]:
    """One of the writers dies in mid-save; later another one takes its place, on the same journal."""
    member = dice.choice(crew)
    await member.die()
    yield
    await member.start()
    await member.order("talk")
