"""Small flow servers, a store that processes share, and flywheels that are closed when a test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from agentic_flywheel import Flywheel
from tests.conftest import start_or_report
from tests.flywheel.on_servers import flywheel_on
from tests.support.flow_servers import FlowiseServer, ServedFlows


@pytest.fixture(params=["flowise", "langflow"])
def served(request: pytest.FixtureRequest) -> ServedFlows:
    """A server of each product."""
    return cast(ServedFlows, request.getfixturevalue(request.param))


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store that processes share."""
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/sessions.db"
        return
    with start_or_report("redis-server") as server:
        yield server.url


Open = Callable[..., Flywheel]


@pytest.fixture
async def open_flywheel(store: str, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens flywheels, each as a process of its own has it, that are closed when the test ends."""
    opened: list[Flywheel] = []

    def open_one(*servers: ServedFlows, **options: Any) -> Flywheel:
        urls = {"flowise" if isinstance(each, FlowiseServer) else "langflow": each.url for each in servers}
        opened.append(flywheel_on(store, tmp_path, **urls, **options))
        return opened[-1]

    yield open_one
    for flywheel in opened:
        await flywheel.flows.close()
        await flywheel.sessions.close()
