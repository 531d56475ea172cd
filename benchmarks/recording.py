"""What recording adds to a tool call, and what state does: over stdio, over HTTP, and in one process.

Run by ``make bench-recording``. The same tool on servers with and without, call by call in turn, so that what
disturbs one disturbs all; only the differences mean something.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from mcp import Client, StdioServerParameters

from benchmarks.recording_server import build
from tests.support.servers import HOST, ServerMissingError, free_port, start

CALLS = 400
WARM_UP = 50
WORDS = "Creative orientation focuses on what you want to bring into being. " * 8
KINDS = ("bare", "record", "state", "both")
TRANSPORTS = ("stdio", "http", "in process")
MOST_MS = 1.0


def main() -> int:
    """Measure and print; 1 if recording adds more than `MOST_MS`, 2 without a redis-server."""
    try:
        with start("redis-server", "--appendonly", "yes") as server, tempfile.TemporaryDirectory() as folder:
            os.environ |= {"FLYWHEEL_STATE_DIR": folder}
            stores = {"redis": server.url, "sqlite": f"sqlite://{folder}/bench.db"}
            figures = {
                (store, transport): asyncio.run(_measure(transport, url))
                for store, url in stores.items()
                for transport in TRANSPORTS
            }
    except ServerMissingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if _report(figures) else 1


async def _measure(transport: str, url: str) -> dict[str, float]:
    """The median of a call on a bare server, and what it takes longer on each other kind, in milliseconds."""
    async with AsyncExitStack() as stack:
        clients = {kind: await stack.enter_async_context(_client(transport, kind, url)) for kind in KINDS}
        arguments = {kind: {"session_id": await _begin(clients, kind), "words": WORDS} for kind in KINDS}
        # Pair by pair: what a server with state does beside its answer shall not count for the next one's call.
        return {kind: await _difference(clients["bare"], clients[kind], arguments[kind]) for kind in KINDS[1:]} | {
            "bare": await _difference(None, clients["bare"], arguments["bare"])
        }


async def _difference(bare: Client | None, client: Client, arguments: dict[str, str]) -> float:
    """How much longer the median call takes than on a bare server, in milliseconds; called in turn."""
    times: list[list[float]] = [[], []]
    for number in range(WARM_UP + CALLS):
        for place, each in enumerate((bare, client)):
            if each is None:
                continue
            begun = time.perf_counter()
            result = await each.call_tool("say", arguments)
            if number >= WARM_UP:
                times[place].append((time.perf_counter() - begun) * 1000)
            if result.is_error:
                raise RuntimeError(str(result.content))
    return median(times[1]) - (median(times[0]) if bare else 0.0)


async def _begin(clients: Mapping[str, Client], kind: str) -> str:
    if kind == "bare":
        return "none"
    session = (await clients[kind].call_tool("create_session")).structured_content
    return str(session["session_id"])


@asynccontextmanager
async def _client(transport: str, kind: str, url: str) -> AsyncIterator[Client]:
    """A client of a server of its own."""
    if transport == "in process":
        async with Client(build(kind, url)) as client:
            yield client
        return
    port = str(free_port())
    command = ["-m", "benchmarks.recording_server", transport, kind, url, port]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if transport == "stdio":
        async with Client(StdioServerParameters(command=sys.executable, args=command, env=environ)) as client:
            yield client
        return
    process = subprocess.Popen(  # noqa: ASYNC220  # it is started once, before anything is measured
        [sys.executable, *command], env=environ, cwd=Path(__file__).parents[1]
    )
    try:
        await _until_it_listens(int(port))
        async with Client(f"http://{HOST}:{port}/mcp") as client:
            yield client
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _report(figures: Mapping[tuple[str, str], Mapping[str, float]]) -> bool:
    print(f"{'median ms':20}{'bare':>8}{'record adds':>14}{'state adds':>14}{'both add':>14}")
    held = True
    for (store, transport), times in figures.items():
        missed = times["record"] > MOST_MS
        held &= not missed
        print(
            f"{store + ', ' + transport:20}{times['bare']:8.2f}{times['record']:14.2f}{times['state']:14.2f}"
            f"{times['both']:14.2f}{'   MISSED' if missed else ''}"
        )
    print(f"recording is to add at most {MOST_MS:g} ms")
    return held


if __name__ == "__main__":
    sys.exit(main())
