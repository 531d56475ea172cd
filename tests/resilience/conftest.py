"""Outages for every test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conftest import start_or_report
from tests.resilience.outage import Outage, outage_on
from tests.support.servers import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A Redis for this test alone, which keeps all that it acknowledged."""
    with start_or_report("redis-server", "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.fixture
async def outage(server: Server, tmp_path: Path) -> AsyncIterator[Outage]:
    """A machine whose Redis can be killed and whose network can fail."""
    async with outage_on(server, tmp_path / "state") as made:
        yield made
