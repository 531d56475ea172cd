"""Conversations that go on whatever becomes of Redis, as an application holds them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import JournalSettings, Settings, StoreSettings
from agentic_flywheel.wiring import open_manager

SESSIONS = 50
PAUSE = 0.2  # seconds between turns of a session
PATIENCE = 60.0
BUDGET_MS = 200  # twice the default: the machines that run the tests are busy


def manager_on(url: str, folder: Path) -> SessionManager:
    """What a process with this state folder has; its journal, too."""
    settings = Settings(
        store=StoreSettings(url=url), journal=JournalSettings(budget_ms=BUDGET_MS), state_dir=str(folder)
    )
    return open_manager(settings)


class Conversations:
    """Many sessions in which turn follows turn; what each save said, and when, in seconds."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._going_on = True
        self.sessions = [UniversalSession(backend="custom") for _ in range(SESSIONS)]
        self.outcomes: set[str] = set()
        self.stored: dict[str, list[float]] = {session.id: [] for session in self.sessions}

    async def hold(self) -> None:
        """Go on until somebody stops it. An exception of a save is one here."""
        await asyncio.gather(*(self._talk(session) for session in self.sessions))

    async def _talk(self, session: UniversalSession) -> None:
        while self._going_on:
            number = len(session.history) + 1
            session.record(question=f"question {number}", response="x" * 200, flow_id="flow", duration_ms=1)
            saved = await self._manager.save_session(session)
            self.outcomes.add(saved.outcome)
            if saved.outcome == "stored":
                self.stored[session.id].append(time.monotonic())
            await asyncio.sleep(PAUSE)

    @property
    def turns(self) -> int:
        """How many there were in all."""
        return sum(len(session.history) for session in self.sessions)

    def stop(self) -> None:
        """Let each say what it is saying, and end."""
        self._going_on = False

    async def went_on(self) -> None:
        """Return once every session was stored again and again from now on."""
        now = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while not all(sum(at > now for at in times) >= 3 for times in self.stored.values()):  # noqa: ASYNC110  # polls
                await asyncio.sleep(0.01)

    def longest_gap(self, since: float) -> float:
        """The longest time after that moment in which some session was stored nowhere but in the journal."""
        return max(
            later - max(earlier, since)
            for times in self.stored.values()
            for earlier, later in pairwise(times)
            if later > since
        )


@asynccontextmanager
async def held(manager: SessionManager) -> AsyncIterator[Conversations]:
    """Conversations that are held during a block, and stopped at its end; nothing waits in the journal then."""
    conversations = Conversations(manager)
    task = asyncio.create_task(conversations.hold())
    try:
        await conversations.went_on()
        yield conversations
        conversations.stop()
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
    async with asyncio.timeout(PATIENCE):
        while (await manager.health()).pending:  # noqa: ASYNC110  # health is what people look at, too
            await asyncio.sleep(0.01)
