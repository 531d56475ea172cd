"""What is added to a flow call: a question asked through us against the same request sent directly; in two minutes.

Run by ``make bench-flows``. Everything is measured in one process on one flow server, call by call in turn, so that
what disturbs one disturbs all; only what is added, and the ratios, mean something. A caller alone asks a flow that
answers at once. Many at once ask one that takes as long as a quick model: with a flow that takes no time, the time
of the one process that calls is all that there is, for direct calls, too.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from agentic_flywheel import Flywheel, UniversalSession
from agentic_flywheel.backends import Question
from agentic_flywheel.config import FlowSettings, ServerSettings, Settings, StoreSettings
from agentic_flywheel.manager import SessionManager
from tests.support.servers import Server, ServerMissingError, start

from .example import Call, in_turn
from .flow_server import ANSWER, QUESTION, flow_server

CALLS = 500
SHORT, LONG = 10, 5000
SESSIONS = 20  # of each length, asked in turn: while Redis is away, no session is used hundreds of times
AT_ONCE = 50  # turns that are saved together to make a session
PATIENCE = 30.0  # seconds to store them, whatever else the machine does
CROWD, ROUNDS, TURNS = 50, 5, 20
FLOW_MS = {0: None, 250: 90.0}  # what a flow takes where many are asked at once, and the share to reach, in percent


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the run, its bound if it has one, and whether it is to be reached or not to be exceeded."""

    what: str
    reached: float
    unit: str
    bound: float | None = None
    at_least: bool = False

    @property
    def held(self) -> bool:
        """Whether the bound is held."""
        if self.bound is None:
            return True
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound

    def __str__(self) -> str:
        line = f"{self.what:62} {self.reached:9.2f} {self.unit:7}"
        if self.bound is None:
            return line.rstrip()
        words = "at least" if self.at_least else "at most"
        return f"{line} {words} {self.bound:g}{'' if self.held else '   MISSED'}"


def main() -> int:
    """Measure and print; 1 if a bound is not held, 2 without a redis-server."""
    try:
        with ExitStack() as stack:
            redis, gone = (stack.enter_context(start("redis-server")) for _ in range(2))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            figures = asyncio.run(Bench(stack.enter_context(flow_server()), folder).run(redis.url, gone))
    except ServerMissingError as error:
        print(error, file=sys.stderr)
        return 2
    print(*figures, sep="\n")
    return 0 if all(figure.held for figure in figures) else 1


class Bench:
    """Flywheels on each store, and one client that sends the same requests itself."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._client = httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=200))

    async def run(self, redis: str, gone: Server) -> list[Figure]:
        """All figures; ``redis`` is a URL, and the server ``gone`` is killed on the way."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._client.aclose)
            stores = {"Redis": redis, "SQLite": f"sqlite://{self._folder}/sessions.db", "no Redis": gone.url}
            flywheels = {
                name: await stack.enter_async_context(self._open(name, url)) for name, url in stores.items()
            }
            calls: dict[str, Call] = {"direct": self._direct(0), "bare": _bare(flywheels["Redis"])}
            for name, flywheel in flywheels.items():
                for length in (SHORT, LONG):
                    calls[f"{name} at {length}"] = await _asking(flywheel, length, sessions=SESSIONS)
            gone.kill()
            await _until_away(flywheels["no Redis"])
            times = {name: median(each) * 1000 for name, each in (await in_turn(calls, CALLS)).items()}
            del flywheels["no Redis"]
            return [*_latencies(times), *await self._crowds(flywheels)]

    def _open(self, name: str, url: str) -> Flywheel:
        settings = Settings(
            store=StoreSettings(url=url),
            state_dir=str(self._folder / name),
            servers={"bench": ServerSettings(backend="flowise", url=self._url)},
            flows={str(delay): FlowSettings(server="bench") for delay in FLOW_MS},
            default_flow="0",
        )
        return Flywheel.from_settings(settings)

    def _direct(self, delay: int) -> Call:
        body: dict[str, Any] = {
            "question": QUESTION,
            "overrideConfig": {"sessionId": "session"},
            "streaming": False,
        }

        async def ask() -> None:
            response = await self._client.post(f"{self._url}/api/v1/prediction/{delay}", json=body)
            if response.json()["text"] != ANSWER:
                raise RuntimeError("the flow server answers something else")

        return ask

    async def _crowds(self, flywheels: Mapping[str, Flywheel]) -> list[Figure]:
        figures = []
        for delay, bound in FLOW_MS.items():
            callers: dict[str, list[Call]] = {"direct": [self._direct(delay)] * CROWD}
            for name, flywheel in flywheels.items():
                callers[name] = [await _asking(flywheel, SHORT, delay=delay) for _ in range(CROWD)]
            rates: dict[str, list[float]] = {name: [] for name in callers}
            for _ in range(ROUNDS):
                for name, crowd in callers.items():
                    rates[name].append(await _rate(crowd))
            what = f"{CROWD} at once, a flow of {delay} ms"
            direct = median(rates.pop("direct"))
            figures.append(Figure(f"{what}: direct", direct, "calls/s"))
            for name, each in rates.items():
                share = 100 * median(each) / direct
                figures.append(Figure(f"{what}: on {name}, of that", share, "%", bound, at_least=True))
        return figures


def _bare(flywheel: Flywheel) -> Call:
    """The call that our backend makes, with nothing around it."""
    flow = flywheel.flows.choose(None, None)
    question = Question(QUESTION, UniversalSession(backend=flow.backend), {})

    async def ask() -> None:
        if (await flow.ask(question)).text != ANSWER:
            raise RuntimeError("the flow server answers something else")

    return ask


async def _asking(flywheel: Flywheel, length: int, *, sessions: int = 1, delay: int = 0) -> Call:
    """Asking in sessions that have so many turns, one after another."""
    in_turn = cycle([await _session(flywheel, length, str(delay)) for _ in range(sessions)])

    async def ask() -> None:
        reply = await flywheel.ask(QUESTION, session_id=next(in_turn))
        if reply.text != ANSWER or not reply.saved:
            raise RuntimeError(f"a turn was {reply.saved.outcome}")

    for _ in range(sessions):
        await ask()
    return ask


async def _session(flywheel: Flywheel, length: int, flow: str) -> str:
    session = UniversalSession(backend="flowise", current_flow_id=flow)
    patient = SessionManager(flywheel.sessions.store, budget=PATIENCE)
    for number in range(1, length + 1):
        session.record(question=QUESTION, response=ANSWER)
        if number % AT_ONCE == 0 or number == length:
            saved = await patient.save_session(session)
            if saved.outcome != "stored":
                raise RuntimeError(f"a session was {saved.outcome}: this machine is too busy to measure anything")
    return session.id


async def _until_away(flywheel: Flywheel) -> None:
    while (await flywheel.sessions.health()).state != "unavailable":  # noqa: ASYNC110  # a state has no event
        await asyncio.sleep(0.01)


async def _rate(crowd: list[Call]) -> float:
    """Calls a second, where each of a crowd calls `TURNS` times, one call after another."""

    async def one(call: Call) -> None:
        for _ in range(TURNS):
            await call()

    begun = time.perf_counter()
    await asyncio.gather(*map(one, crowd))
    return len(crowd) * TURNS / (time.perf_counter() - begun)


def _latencies(times: Mapping[str, float]) -> list[Figure]:
    direct, bare, *asked = times.items()
    figures = [
        Figure("a call of the flow with httpx2, directly, p50", direct[1], "ms"),
        Figure("a call of the flow by our backend, without a session, p50", bare[1], "ms"),
    ]
    for name, reached in asked:
        store, _, length = name.rpartition(" at ")
        bound = 2.0 if store == "no Redis" else 1.5
        what = f"added on {store}, at {int(length):,} turns, p50".replace("on no Redis", "with Redis down")
        figures.append(Figure(what, reached - direct[1], "ms", bound))
    return figures


if __name__ == "__main__":
    sys.exit(main())
