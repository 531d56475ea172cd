"""What the writers play on: a Redis and a network that can be hurt, and the local disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio

from agentic_flywheel.integrations.redis_manager import RedisSessionManager
from agentic_flywheel.resilience import Journal
from tests.support.proxy import Proxy
from tests.support.servers import Server, start

from .patience import until

# So that Redis itself loses nothing that it acknowledged: what is missing in the end was lost by us.
KEEPS_ALL = ("--appendonly", "yes", "--appendfsync", "always")


@dataclass
class Stage:
    """The parts, and how much has waited in the journals at the most."""

    server: Server
    proxy: Proxy
    folder: Path
    journals: dict[Path, Journal] = field(default_factory=dict)
    most_waiting: int = 0

    @property
    def state(self) -> Path:
        """Where all writers keep their local files."""
        return self.folder / "state"

    @property
    def ledgers(self) -> Path:
        """Where the writers note what they do."""
        return self.folder / "ledgers"

    def all_ledgers(self) -> list[Path]:
        """The ledger of each writer."""
        return sorted(self.ledgers.glob("*.jsonl"))

    async def command(self, *words: str | int) -> Any:
        """What Redis answers to a command on a way that no fault is aimed at."""
        async with redis.asyncio.Redis.from_url(self.server.url) as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]  # the library's own

    async def waiting(self) -> int:
        """How many entries wait in all journals."""
        for path in self.state.glob("journal-*.db"):
            self.journals.setdefault(path, Journal(path))
        pending = [await journal.pending() for journal in self.journals.values()]
        waiting = sum(each.entries for each in pending)
        self.most_waiting = max(self.most_waiting, waiting)
        return waiting

    async def refused(self) -> list[str]:
        """Why entries of the journals were set aside."""
        return [
            str(entry.refused)
            for journal in self.journals.values()
            async for entry in journal.entries(refused=True)
        ]

    async def nothing_waits(self, patience: float) -> float:
        """Wait until all journals are empty; how many seconds that took, infinity if longer than ``patience``."""

        async def nothing() -> bool:
            return not await self.waiting()

        return await until(nothing, patience=patience)

    async def settle(self, patience: float = 60.0) -> float:
        """Let the last process replay what the writers left behind; how many seconds that took."""
        return sum([await self._replayed(url, patience) for url in (self.server.url, self.proxy.url)])

    async def _replayed(self, url: str, patience: float) -> float:
        async with RedisSessionManager(url=url, state_dir=self.state) as manager:

            async def nothing() -> bool:
                return not (await manager.health()).pending

            await manager.load("a session that nobody has")  # a manager looks at its journal on its first call
            return await until(nothing, patience=patience)

    async def close(self) -> None:
        """Let go of the journals."""
        for journal in self.journals.values():
            await journal.close()


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """A stage that is ready, with its local files in a folder."""
    with start("redis-server", *KEEPS_ALL) as server:
        async with Proxy(server.port) as proxy:
            stage = Stage(server, proxy, folder)
            stage.ledgers.mkdir(parents=True)
            stage.state.mkdir()
            try:
                yield stage
            finally:
                await stage.close()
