"""Flow servers for each test, and connections to them that are closed when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from agentic_flywheel.backends.http_server import FlowServer
from tests.support.flow_servers import KEY, LfxServer, ServedFlows

Connect = Callable[..., FlowServer]


@pytest.fixture
def lfx() -> Iterator[LfxServer]:
    with LfxServer(key=KEY) as server:
        yield server


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes a `FlowServer` called ``studio`` for a server of the test; ``url`` may name another place."""
    made: list[FlowServer] = []

    def connect(served: ServedFlows, url: str | None = None, **options: Any) -> FlowServer:
        made.append(FlowServer("studio", url or served.url, **{"key": KEY, **options}))
        return made[-1]

    yield connect
    for server in made:
        await server.close()
