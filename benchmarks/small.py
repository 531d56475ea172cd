"""What a session costs against PING, and a turn of a long session against one of a short: in a minute.

Run by ``make bench-small``. Everything is measured in one process on one Redis, call by call in turn, so that
what disturbs one disturbs all; only the ratios mean something.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from statistics import quantiles

import redis.asyncio

from agentic_flywheel import UniversalSession
from agentic_flywheel.integrations import RedisSessionManager
from tests.support.servers import ServerMissingError, start

CALLS = 1000
SHORT, LONG = 10, 5000
AT_ONCE = 10  # turns that are saved together to make a session; thousands would not get through in a save's budget
QUESTION = "What is creative orientation?"
ANSWER = "Creative orientation focuses on... " * 55

Call = Callable[[], Awaitable[object]]


def main() -> int:
    """Measure and print; 1 if a bound is not held, 2 without a redis-server."""
    try:
        with start("redis-server") as server, tempfile.TemporaryDirectory() as folder:
            percentiles = asyncio.run(_measure(server.url, folder))
    except ServerMissingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if _report(percentiles) else 1


async def _measure(url: str, folder: str) -> dict[str, list[float]]:
    async with RedisSessionManager(url=url, state_dir=folder) as sessions, redis.asyncio.from_url(url) as client:
        calls: dict[str, Call] = {"ping": client.ping, "save and load": lambda: _save_and_load(sessions)}
        for length in (SHORT, LONG):
            session = await _session_of(sessions, length)
            calls[f"save at {length}"] = _saving(sessions, session)
            calls[f"last 20 at {length}"] = _loading(sessions, session.id)
        return await _in_turn(calls)


async def _save_and_load(sessions: RedisSessionManager) -> None:
    """The published example, as a new session."""
    context = {"topic": "structural tension", "previous_queries": [QUESTION]}
    session = UniversalSession(backend="flowise", current_flow_id="csv2507", context=context)
    session.history.append({"question": QUESTION, "flow_id": "csv2507", "response": ANSWER[:34]})
    await _save(sessions, session)
    await sessions.load_session(session.id)


async def _session_of(sessions: RedisSessionManager, length: int) -> UniversalSession:
    session = UniversalSession(backend="custom")
    for number in range(length):
        session.record(question=QUESTION, response=ANSWER)
        if (number + 1) % AT_ONCE == 0:
            await _save(sessions, session)
    return session


def _saving(sessions: RedisSessionManager, session: UniversalSession) -> Call:
    async def save() -> None:
        session.record(question=QUESTION, response=ANSWER)
        await _save(sessions, session)

    return save


async def _save(sessions: RedisSessionManager, session: UniversalSession) -> None:
    saved = await sessions.save_session(session)
    if saved.outcome != "stored":
        raise RuntimeError(f"a save was {saved.outcome}: this machine is too busy to measure anything")


def _loading(sessions: RedisSessionManager, session_id: str) -> Call:
    return lambda: sessions.load_session(session_id, last=20)


async def _in_turn(calls: Mapping[str, Call]) -> dict[str, list[float]]:
    """The percentiles of each call, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(CALLS + CALLS // 10):
        for name, call in calls.items():
            begun = time.perf_counter()
            await call()
            if number >= CALLS // 10:
                times[name].append((time.perf_counter() - begun) * 1000)
    return {name: quantiles(each, n=100) for name, each in times.items()}


def _report(percentiles: Mapping[str, list[float]]) -> bool:
    median = {name: each[49] for name, each in percentiles.items()}
    small, save, last = "save and load", f"save a turn at {LONG:,}", f"load the last 20 at {LONG:,}"
    figures = [
        (f"{small} of a small session, against PING", median[small] / median["ping"], 4.0),
        ("the same, 99th percentile in ms", percentiles[small][98], 50.0),
        (f"{save} turns, against at {SHORT}", median[f"save at {LONG}"] / median[f"save at {SHORT}"], 1.3),
        (f"{last} turns, against at {SHORT}", median[f"last 20 at {LONG}"] / median[f"last 20 at {SHORT}"], 1.3),
    ]
    for what, reached, bound in figures:
        print(f"{what:55} {reached:8.2f}   at most {bound:g}{'' if reached <= bound else '   MISSED'}")
    return all(reached <= bound for _, reached, bound in figures)


if __name__ == "__main__":
    sys.exit(main())
