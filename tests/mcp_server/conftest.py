"""Real servers over stdio, for clients of both protocol eras, on every store that outlives them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Protocol, cast
from uuid import uuid4

import pytest

from agentic_flywheel.mcp_server.client import Connection, connected

ROOT = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "agentic_flywheel.cli", "mcp")

SETTINGS = """
[journal]
budget_ms = 1000  # the machines that run the tests are busy
[limits]
turn_bytes = 20000
[flows.echo]
target = "tests.mcp_server.flows:echo"
description = "says it again"
keywords = ["echo", "again"]
[flows.fail]
target = "tests.mcp_server.flows:fail"
[flows.large]
target = "tests.mcp_server.flows:large"
[flows.wait]
target = "tests.mcp_server.flows:wait"
"""


class Serve(Protocol):
    """Starts a server of its own and connects to it."""

    def __call__(self) -> AbstractAsyncContextManager[Connection]: ...


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """How the client negotiates: it lands on 2026-07-28, or on the older handshake."""
    return cast(str, request.param)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """What tells a server its settings and its flows; on SQLite."""
    settings = tmp_path / "flywheel.toml"
    settings.write_text(SETTINGS)
    return {
        "FLYWHEEL_CONFIG": str(settings),
        "FLYWHEEL_STATE_DIR": str(tmp_path / "state"),
        "PYTHONPATH": str(ROOT),
    }


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of stores and eras, which know nothing of each other, take pairs with each once: servers start slowly."""
    left_out = [item for item in items if _params_of(item) in (("sqlite", "auto"), ("redis_server", "legacy"))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _params_of(item: pytest.Item) -> tuple[object, object]:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return params.get("any_store"), params.get("mode")


@pytest.fixture(params=["sqlite", "redis_server"])
def any_store(request: pytest.FixtureRequest, environ: Mapping[str, str]) -> dict[str, str]:
    """The same, on every store that outlives a process; on Valkey the tests of the stores run."""
    if request.param == "sqlite":
        return dict(environ)
    url = request.getfixturevalue(request.param).url
    return {**environ, "FLYWHEEL_REDIS_URL": url, "FLYWHEEL_PREFIX": f"mcp-{uuid4().hex}"}


@pytest.fixture
def serve(any_store: Mapping[str, str], mode: str) -> Serve:
    return cast(Serve, partial(connected, COMMAND, any_store, mode=mode))


@pytest.fixture
async def server(environ: Mapping[str, str], mode: str) -> AsyncIterator[Connection]:
    """A client that is connected to a server on SQLite."""
    ready: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def host() -> None:
        async with connected(COMMAND, environ, mode=mode) as connection:
            ready.set_result(connection)
            await done.wait()

    # The SDK wants to be left by the task that entered it; the two halves of a fixture are run by different ones.
    task = asyncio.create_task(host())
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await task
    yield ready.result()
    done.set()
    await task
