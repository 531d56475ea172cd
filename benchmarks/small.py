"""What a session costs against PING, and a turn of a long session against one of a short: in a minute.

Run by ``make bench-small``. Everything is measured in one process on one Redis, call by call in turn, so that
what disturbs one disturbs all; only the ratios mean something.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from statistics import quantiles

import redis.asyncio

from agentic_flywheel import UniversalSession
from agentic_flywheel.integrations import RedisSessionManager
from tests.support.servers import ServerMissingError, start

from .example import ANSWER, QUESTION, Call, in_turn, save, save_and_load

CALLS = 1000
SHORT, LONG = 10, 5000
AT_ONCE = 10  # turns that are saved together to make a session; thousands would not get through in a save's budget
LONG_ANSWER = f"{ANSWER} " * 55


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
        calls: dict[str, Call] = {"ping": client.ping, "save and load": lambda: save_and_load(sessions)}
        for length in (SHORT, LONG):
            session = await _session_of(sessions, length)
            calls[f"save at {length}"] = _saving(sessions, session)
            calls[f"last 20 at {length}"] = _loading(sessions, session.id)
        times = await in_turn(calls, CALLS)
        return {name: quantiles(each, n=100) for name, each in times.items()}


async def _session_of(sessions: RedisSessionManager, length: int) -> UniversalSession:
    session = UniversalSession(backend="custom")
    for number in range(length):
        session.record(question=QUESTION, response=LONG_ANSWER)
        if (number + 1) % AT_ONCE == 0:
            await save(sessions, session)
    return session


def _saving(sessions: RedisSessionManager, session: UniversalSession) -> Call:
    async def record_and_save() -> None:
        session.record(question=QUESTION, response=LONG_ANSWER)
        await save(sessions, session)

    return record_and_save


def _loading(sessions: RedisSessionManager, session_id: str) -> Call:
    return lambda: sessions.load_session(session_id, last=20)


def _report(percentiles: Mapping[str, list[float]]) -> bool:
    median = {name: each[49] for name, each in percentiles.items()}
    small, save, last = "save and load", f"save a turn at {LONG:,}", f"load the last 20 at {LONG:,}"
    figures = [
        (f"{small} of a small session, against PING", median[small] / median["ping"], 3.0),
        ("the same, 99th percentile in ms", percentiles[small][98] * 1000, 50.0),
        (f"{save} turns, against at {SHORT}", median[f"save at {LONG}"] / median[f"save at {SHORT}"], 1.3),
        (f"{last} turns, against at {SHORT}", median[f"last 20 at {LONG}"] / median[f"last 20 at {SHORT}"], 1.3),
    ]
    for what, reached, bound in figures:
        print(f"{what:55} {reached:8.2f}   at most {bound:g}{'' if reached <= bound else '   MISSED'}")
    return all(reached <= bound for _, reached, bound in figures)


if __name__ == "__main__":
    sys.exit(main())
