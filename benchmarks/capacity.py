"""What a turn and a session cost Redis and a process of ours, and what that comes to at a size: in a minute.

Run by ``make bench-capacity``. It starts its own redis-server, with the settings that the operators' page asks for.
Bytes and commands are counted by Redis, times by the processors' own clocks: how much processor time a turn takes
there and here says how many a core can do. The last table does the arithmetic for a number of sessions:
``ARGS="--sessions 10000000 --turns 20 --per-day 50000000"``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis.asyncio

from agentic_flywheel import Execution, SessionManager, UniversalSession
from agentic_flywheel.config import JournalSettings, Settings, StoreSettings
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.owned import acting_as
from agentic_flywheel.wiring import open_manager
from tests.support.servers import Server, ServerMissingError, start

SESSIONS = 2000
TURNS = 20
ANSWER = 2000  # bytes of an answer
AT_ONCE = 50
PEAK = 3.0  # times the mean, at the busiest hour of a day
DAY = 86_400
GB = 1024**3


@dataclass(frozen=True, slots=True)
class Costs:
    """What a session and a turn cost: bytes of memory and of the append-only file, commands, processor time."""

    session_bytes: float
    turn_bytes: float
    execution_bytes: float
    aof_bytes: float
    commands: float
    redis_seconds: float
    our_seconds: float
    load_redis_seconds: float
    load_our_seconds: float


class Meter:
    """What Redis and this process have used so far."""

    def __init__(self, client: redis.asyncio.Redis, folder: Path) -> None:
        self._client = client
        self._folder = folder

    async def memory(self) -> int:
        """Bytes of data in Redis."""
        return int((await self._client.info("memory"))["used_memory_dataset"])

    async def commands(self) -> int:
        """Commands that were sent for saves; what scripts call by themselves is not counted."""
        stats = await self._client.info("commandstats")
        return sum(each["calls"] for name, each in stats.items() if name in _SENT)

    async def redis_seconds(self) -> float:
        """Processor time of the server."""
        found = await self._client.info("cpu")
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])

    def aof(self) -> int:
        """Bytes of the append-only file."""
        return sum(path.stat().st_size for path in self._folder.rglob("*.aof"))


_SENT = {f"cmdstat_{name}" for name in ("evalsha", "zadd", "set")}  # no script of a save calls one of them


def main() -> int:
    """Measure and print; 2 without a redis-server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000_000, help="sessions that are kept at a time")
    parser.add_argument("--turns", type=int, default=20, help="turns of a session")
    parser.add_argument("--per-day", type=int, default=20_000_000, help="turns that are taken in a day")
    wanted = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder, start("redis-server", "--appendonly", "yes") as server:
            costs = asyncio.run(_measure(server, Path(folder)))
    except ServerMissingError as error:
        print(error, file=sys.stderr)
        return 2
    _report(costs)
    _plan(costs, wanted.sessions, wanted.turns, wanted.per_day)
    return 0


async def _measure(server: Server, folder: Path) -> Costs:
    settings = Settings(
        store=StoreSettings(url=server.url),
        journal=JournalSettings(budget_ms=60_000),
        state_dir=str(folder),
    )
    async with redis.asyncio.Redis.from_url(server.url) as client, open_manager(settings) as sessions:
        meter = Meter(client, server.data)
        with acting_as(principal_of("capacity", "somebody")):
            return await _costs(sessions, meter)


async def _costs(sessions: SessionManager, meter: Meter) -> Costs:
    empty = await meter.memory()
    made = [UniversalSession(backend="custom", context={"topic": "creative orientation"}) for _ in range(SESSIONS)]
    await _save_all(sessions, made)
    begun, aof, commands = await meter.memory(), meter.aof(), await meter.commands()
    redis_seconds, ours, turns = await meter.redis_seconds(), time.process_time(), 0
    for number in range(TURNS):
        # Each session ends with another number of turns: strings grow by leaps, so that one number says little.
        turns += await _say(sessions, [session for place, session in enumerate(made) if place % TURNS >= number])
    redis_taken, taken = await meter.redis_seconds() - redis_seconds, time.process_time() - ours
    grown, aof_taken, commands_taken = await meter.memory(), meter.aof() - aof, await meter.commands() - commands
    redis_seconds, ours = await meter.redis_seconds(), time.process_time()
    await _each([sessions.load(session.id, last=20) for session in made for _ in range(3)])
    redis_loads, our_loads = await meter.redis_seconds() - redis_seconds, time.process_time() - ours
    executions = await _executions(sessions, made)
    return Costs(
        session_bytes=(begun - empty) / SESSIONS,
        turn_bytes=(grown - begun) / turns,
        execution_bytes=(await meter.memory() - grown) / executions,
        aof_bytes=aof_taken / turns,
        commands=commands_taken / turns,
        redis_seconds=redis_taken / turns,
        our_seconds=taken / turns,
        load_redis_seconds=redis_loads / 3 / SESSIONS,
        load_our_seconds=our_loads / 3 / SESSIONS,
    )


async def _executions(sessions: SessionManager, made: list[UniversalSession]) -> int:
    """Store an execution for each turn, with its entry in the history of a flow; how many there are."""
    found = []
    for session in made:
        for turn in session.history:
            turn["flow_id"] = "flow"
            found.append(Execution.of_turn(turn, session.id, session.backend))
    await _each([sessions.save_execution(execution) for execution in found])
    return len(found)


async def _say(sessions: SessionManager, made: list[UniversalSession]) -> int:
    answer = os.urandom(ANSWER // 2).hex()
    for session in made:
        session.record(question="and what comes next?", response=answer)
    await _save_all(sessions, made)
    return len(made)


async def _save_all(sessions: SessionManager, made: list[UniversalSession]) -> None:
    for saved in await _each([sessions.save_session(session) for session in made]):
        if saved.outcome != "stored":
            raise RuntimeError(f"a save was {saved.outcome}: {saved.reason}")


async def _each(calls: list) -> list:  # type: ignore[type-arg]
    """The results of calls, of which so many run at a time."""
    results = []
    for first in range(0, len(calls), AT_ONCE):
        results += await asyncio.gather(*calls[first : first + AT_ONCE])
    return results


def _report(costs: Costs) -> None:
    print(f"{SESSIONS:,} sessions, up to {TURNS} turns with {ANSWER:,} bytes of answer, {AT_ONCE} at once")
    for what, value in (
        ("memory of a session without turns, index and allocation included", f"{costs.session_bytes:,.0f} bytes"),
        ("memory of a turn", f"{costs.turn_bytes:,.0f} bytes"),
        ("memory of its execution and history entry, if it has a flow", f"{costs.execution_bytes:,.0f} bytes"),
        ("append-only file, a turn, before it is rewritten", f"{costs.aof_bytes:,.0f} bytes"),
        ("commands that are sent, a turn", f"{costs.commands:.2f}"),
        ("processor time of Redis, a turn saved", f"{costs.redis_seconds * 1e6:,.0f} us"),
        ("processor time of our process, a turn saved", f"{costs.our_seconds * 1e6:,.0f} us"),
        ("processor time of Redis, a session resumed with 20 turns", f"{costs.load_redis_seconds * 1e6:,.0f} us"),
        ("processor time of our process, the same", f"{costs.load_our_seconds * 1e6:,.0f} us"),
        ("turns that a core of Redis can save in a second", f"{1 / costs.redis_seconds:,.0f}"),
        ("turns that a core of ours can save in a second", f"{1 / costs.our_seconds:,.0f}"),
    ):
        print(f"{what:75}{value:>16}")


def _plan(costs: Costs, sessions: int, turns: int, per_day: int) -> None:
    memory = sessions * (costs.session_bytes + turns * costs.turn_bytes) / GB
    executed = sessions * turns * costs.execution_bytes / GB
    peak = per_day / DAY * PEAK
    redis_cores = peak * (costs.redis_seconds + costs.load_redis_seconds)
    our_cores = peak * (costs.our_seconds + costs.load_our_seconds)
    print(
        f"\n{sessions:,} sessions of {turns} turns; {per_day:,} turns a day, each resumed; peak {PEAK:g} times that"
    )
    for what, value in (
        ("memory of Redis, all shards, for sessions", f"{memory:,.0f} GB"),
        ("and for executions and histories, where all turns have a flow", f"{executed:,.0f} GB"),
        ("turns a second at the peak", f"{peak:,.0f}"),
        ("cores of Redis that are busy then", f"{redis_cores:.2f}"),
        ("cores of ours that are busy then, without the protocol", f"{our_cores:.2f}"),
        ("append-only file that a day writes", f"{per_day * costs.aof_bytes / GB:,.0f} GB"),
    ):
        print(f"{what:75}{value:>16}")


if __name__ == "__main__":
    sys.exit(main())
