"""What the largest sessions cost, and how long Redis is held up by one command of ours: in three minutes.

Run by ``make bench-extremes``, on Redis and on SQLite. It writes a million short turns, a turn of 5 MB, a context
that grows to 2 MB, edits an early turn, replaces a history, lets a session reach its limit, deletes one, and takes
over a document that somebody else wrote. Redis itself notes each command that took it longer than a millisecond,
and how long the longest transaction took in all. Bare commands with the same bytes are beside ours where these are
what takes the time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median

import redis.asyncio

from agentic_flywheel import History, SessionManager, UniversalSession
from agentic_flywheel.stores.redis_store import RedisStore
from agentic_flywheel.stores.sqlite_store import SqliteStore
from tests.support.servers import ServerMissingError, start

MILLION = 1_000_000
AT_ONCE = 5_000
SAVES = 200
MB = 1024**2
LONG_MS = 50  # of a save of 1 MB, where Redis moved what it had
NOTED = 1000  # microseconds; what takes Redis as long
BUDGET = 60.0  # seconds; what is measured here is how long it takes, not whether it is in time


class Extremes:
    """Does one extreme thing after another, and prints what each took."""

    def __init__(self, sessions: SessionManager, client: redis.asyncio.Redis | None = None) -> None:
        self.sessions = sessions
        self.client = client
        self.outgrown = ""  # the session whose context did

    async def run(self) -> None:
        """All of them."""
        print(f"{f'on {self.sessions.store.name}':58}{'ours':>12}  {'longest command in Redis':>24}")
        session = UniversalSession(backend="custom")
        await self._timed("save a first turn, median", lambda: self._turns(session, SAVES))
        await self._many(UniversalSession(backend="custom"))
        await self._timed(f"save {AT_ONCE:,} turns at once", lambda: self._fill(session, AT_ONCE))
        await self._large(session)
        await self._timed("a context outgrows its block before 200 MB of turns", self._outgrown)
        await self._timed("delete a session of 200 MB", lambda: self.sessions.delete_session(self.outgrown))
        await self._timed(f"from 90 to 250 MB, a MB a save: saves of over {LONG_MS} ms", self._grows)
        await self._told("  a bare APPEND of as much, in turn with it", "APPEND")
        await self._timed("a session of 250 MB reaches 256 MB", self._limit)
        if self.client is not None:
            taking = partial(self._takes_over, self.client)
            await self._timed("take over 20 MB that somebody else wrote", taking)

    async def _many(self, session: UniversalSession) -> None:
        """A million turns."""
        await self._timed(f"add {MILLION:,} turns, {AT_ONCE:,} a save", lambda: self._fill(session, MILLION))
        await self._timed(f"save a turn at {MILLION:,}, median", lambda: self._turns(session, SAVES))
        await self._timed(f"load the last 20 of {MILLION:,}, median", lambda: self._loads(session, 20))
        await self._timed(f"load all of {MILLION:,}", lambda: self._load(session))
        await self._timed(f"edit turn 10 of {MILLION:,} and save", lambda: self._edit(session))
        await self._timed(f"replace the history of {MILLION:,}", lambda: self._replace(session))

    async def _large(self, session: UniversalSession) -> None:
        """A large turn, and a context that becomes large."""
        await self._timed("save a turn of 5 MB", lambda: self._large_turn(session))
        if self.client is not None:
            await self._append(MB)
            await self._timed("  a bare APPEND of as much", lambda: self._append(5 * MB), "APPEND")
            by_script = partial(self.client.eval, "redis.call('APPEND', KEYS[1], ARGV[1])", 1, "bare", "a" * 5 * MB)
            await self._timed("  the same in a script", by_script, "EVAL")
        await self._timed("a context grows to 2 MB, 100 saves, the slowest", lambda: self._context(session))

    async def _timed(self, what: str, work: Callable[[], Awaitable[object]], *names: str) -> None:
        """Print what it took: what the work says, else the time of it all; and what Redis noted, as `_held`."""
        await self._forget()
        begun = time.perf_counter()
        told = await work()
        took = told if isinstance(told, str) else f"{(time.perf_counter() - begun) * 1000:,.1f} ms"
        print(f"{what:58}{took:>12}  {await self._held(*names):>24}", flush=True)

    async def _forget(self) -> None:
        """Have Redis note what takes long from now on."""
        if self.client is not None:
            await self.client.slowlog_reset()
            await self.client.latency_reset()

    async def _told(self, what: str, name: str) -> None:
        """What else Redis noted meanwhile, of another command."""
        if self.client is not None:
            print(f"{what:58}{'':12}  {await self._held(name):>24}", flush=True)

    async def _held(self, *names: str) -> str:
        """The command that held Redis up for longest, of those of a name if that is given, else of ours."""
        if self.client is None:
            return "-"
        noted = [
            (entry["duration"], name)
            for entry in await self.client.slowlog_get(1000)
            if (name := _name(entry["command"])) in names or not (names or name == "APPEND")
        ]
        if not names:
            noted.append((await self._transaction(self.client), "EXEC"))
        longest, name = max(noted, default=(0, ""))
        return f"{longest / 1000:.1f} ms {name}" if longest >= NOTED else "under 1 ms"

    async def _transaction(self, client: redis.asyncio.Redis) -> int:
        """What the longest transaction took, in microseconds; Redis tells whole milliseconds, and not of APPEND."""
        latest = await client.latency_latest()
        return max((int(longest) * 1000 for event, _, _, longest in latest if event == b"command"), default=0)

    async def _save(self, session: UniversalSession) -> None:
        saved = await self.sessions.save_session(session)
        if saved.outcome != "stored":
            raise RuntimeError(f"a save was {saved.outcome}: {saved.reason}")

    async def _turns(self, session: UniversalSession, count: int) -> str:
        return await self._median(count, lambda: self._turn(session))

    async def _turn(self, session: UniversalSession) -> None:
        session.record(question="q", response="a" * 2000)
        await self._save(session)

    async def _loads(self, session: UniversalSession, last: int) -> str:
        return await self._median(SAVES, lambda: self.sessions.load(session.id, last=last))

    async def _median(self, count: int, call: Callable[[], Awaitable[object]]) -> str:
        times = []
        for _ in range(count):
            begun = time.perf_counter()
            await call()
            times.append(time.perf_counter() - begun)
        return f"{median(times) * 1000:,.2f} ms"

    async def _fill(
        self, session: UniversalSession, count: int, response: str = "a", at_once: int = AT_ONCE
    ) -> None:
        for _ in range(0, count, at_once):
            for _ in range(at_once):
                session.record(question="q", response=response)
            await self._save(session)

    async def _load(self, session: UniversalSession) -> None:
        loaded = (await self.sessions.load(session.id)).need()
        if len(loaded.history) < MILLION:
            raise RuntimeError(f"{len(loaded.history):,} turns came back")

    async def _edit(self, session: UniversalSession) -> None:
        session.history[10]["response"] = "edited"
        await self._save(session)
        if (await self.sessions.require(session.id)).history[10].response != "edited":
            raise RuntimeError("the edit was lost")

    async def _replace(self, session: UniversalSession) -> None:
        session.history = History([{"question": "q", "response": "only this"}])
        await self._save(session)
        if len((await self.sessions.require(session.id)).history) != 1:
            raise RuntimeError("the history was not replaced")

    async def _large_turn(self, session: UniversalSession) -> None:
        session.record(question="q", response="a" * 5 * MB)
        await self._save(session)

    async def _context(self, session: UniversalSession) -> str:
        slowest = 0.0
        for number in range(100):
            session.context[f"part {number}"] = "c" * (2 * MB // 100)
            begun = time.perf_counter()
            await self._save(session)
            slowest = max(slowest, time.perf_counter() - begun)
        return f"{slowest * 1000:,.1f} ms"

    async def _outgrown(self) -> str:
        session = UniversalSession(backend="custom")
        await self._fill(session, 100_000, "a" * 2000, 1000)
        await self._forget()
        session.context["grows"] = "c" * 10_000
        begun = time.perf_counter()
        await self._save(session)
        self.outgrown = session.id
        return f"{(time.perf_counter() - begun) * 1000:,.1f} ms"

    async def _grows(self) -> str:
        """A megabyte a save, and in turn with it the same onto a bare string, if there is a Redis."""
        session = UniversalSession(backend="custom")
        await self._fill(session, 88, "a" * MB, 4)
        for _ in range(22 if self.client else 0):
            await self._append(4 * MB)
        await self._forget()
        times = []
        for _ in range(160):
            await self._append(MB)
            begun = time.perf_counter()
            await self._fill(session, 1, "a" * MB, 1)
            times.append((time.perf_counter() - begun) * 1000)
        await self.sessions.delete_session(session.id)
        return f"{sum(took > LONG_MS for took in times)} of {len(times)}"

    async def _append(self, size: int) -> None:
        if self.client is not None:
            await self.client.append("bare", "a" * size)

    async def _takes_over(self, client: redis.asyncio.Redis) -> None:
        turns = [{"question": "q", "response": "a" * 2000}] * 10_000
        await client.set("agentic_flywheel:session:others", json.dumps({"backend": "custom", "history": turns}))
        session = await self.sessions.require("others", last=20)
        await self._turn(session)

    async def _limit(self) -> str:
        session = UniversalSession(backend="custom")
        await self._fill(session, 248, "a" * MB, 4)
        for _ in range(20):
            session.record(question="q", response="a" * MB)
            saved = await self.sessions.save_session(session)
            if saved.outcome == "refused":
                print(f"    {saved.reason}")
                await self.sessions.delete_session(session.id)
                return "refused"
        raise RuntimeError("it grew beyond its limit")


def _name(command: object) -> str:
    text = command.decode(errors="replace") if isinstance(command, bytes) else str(command)
    return text.split()[0]


async def _measure(url: str, folder: str) -> None:
    client = redis.asyncio.from_url(url)
    await client.config_set("slowlog-log-slower-than", NOTED)
    await client.config_set("latency-monitor-threshold", NOTED // 1000)
    await client.config_set("slowlog-max-len", 1000)
    async with client, SessionManager(RedisStore(url), budget=BUDGET) as sessions:
        await Extremes(sessions, client).run()
    async with SessionManager(SqliteStore(Path(folder) / "sessions.db"), budget=BUDGET) as sessions:
        await Extremes(sessions).run()


def main() -> int:
    """Measure and print; 2 without a redis-server."""
    try:
        with start("redis-server") as server, tempfile.TemporaryDirectory() as folder:
            asyncio.run(_measure(server.url, folder))
    except ServerMissingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
