"""agentic-flywheel, as its users call it: `RedisSessionManager` with its default settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import redis.asyncio

from agentic_flywheel import Loaded, SessionManager, UniversalSession
from agentic_flywheel.integrations.redis_manager import RedisSessionManager

from ..example import Call, in_turn, save_and_load
from ..turns import Turn
from .base import Contestant, Conversation

AT_ONCE = 100  # turns in one save while a session is filled
_states = count()


class Ours(Contestant):
    """Sessions in Redis. Turns name no flow, so that a turn is one write to one key, as the peers' are."""

    flow: str | None = None

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.manager: SessionManager = RedisSessionManager(url=url, state_dir=folder / f"state-{next(_states)}")
        self.counted = 0

    async def start(self) -> None:
        """Connect."""
        await self.manager.open()

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """Some hundred turns a save."""
        conversation = await self.open(session_id)
        for start in range(0, len(turns), AT_ONCE):
            await conversation.save_together(turns[start : start + AT_ONCE])
        await self.settled()  # a load that is measured comes from the store

    async def open(self, session_id: str) -> OurConversation:
        """Load the whole session."""
        loaded = await self.manager.load(session_id)
        fresh = loaded.state == "absent"
        session = UniversalSession(id=session_id, backend="custom") if fresh else _truly(loaded)
        return OurConversation(self.manager, session, self.flow)

    async def small(self, repeat: int) -> float:
        """What it takes to save and load a small session, against a PING with the library's client: p50 to p50."""
        async with redis.asyncio.from_url(self.url) as client:
            calls: dict[str, Call] = {"ping": client.ping, "small": lambda: save_and_load(self.manager)}
            times = await in_turn(calls, repeat)
        return median(times["small"]) / median(times["ping"])

    async def settled(self) -> int:
        """Wait until the journal is empty; a turn that went through it was accepted before it was stored."""
        before, self.counted = self.counted, self.manager.meter.counts["journalled"]
        if self.counted > before:
            while (await self.manager.health()).pending:  # noqa: ASYNC110  # nothing tells when a journal is empty
                await asyncio.sleep(0.01)
        return self.counted - before

    async def close(self) -> None:
        """Close the manager."""
        await self.manager.close()


class OursWithFlow(Ours):
    """The same with turns that name a flow: a turn is an execution and an entry in the flow's history, too."""

    flow = "bench"


class OursOnSqlite(Ours):
    """The same in the embedded SQLite file."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(f"sqlite://{folder / 'ours.db'}", folder)


class OurConversation(Conversation):
    """One session object, kept and saved again and again."""

    def __init__(self, manager: SessionManager, session: UniversalSession, flow: str | None) -> None:
        self.manager, self.session, self.flow = manager, session, flow

    async def save(self, turn: Turn) -> None:
        """Record the turn, save the session."""
        await self.save_together([turn])

    async def save_together(self, turns: Sequence[Turn]) -> None:
        """Record turns, save the session."""
        for turn in turns:
            self.session.record(
                id=turn.id,
                timestamp=turn.timestamp,
                question=turn.question,
                response=turn.response,
                duration_ms=turn.duration_ms,
                flow_id=self.flow,
            )
        saved = await self.manager.save_session(self.session)
        if not saved:
            raise RuntimeError(f"was {saved.outcome}, not stored: {saved.reason or saved.where}")

    async def load_all(self) -> Any:
        """The whole session; its turns are parsed when somebody reads them."""
        return _truly(await self.manager.load(self.session.id))

    async def load_last(self, count: int) -> Any:
        """The session with its last turns only."""
        return _truly(await self.manager.load(self.session.id, last=count))

    def answers(self, loaded: Any) -> Sequence[str]:
        """Read, and so parse, every turn."""
        return [turn.response for turn in loaded.history]


def _truly(loaded: Loaded) -> UniversalSession:
    """The session as it is in the store; what is known on this machine instead does not count."""
    if loaded.behind:
        raise RuntimeError("came from this machine's own knowledge, not from the store")
    return loaded.need()
