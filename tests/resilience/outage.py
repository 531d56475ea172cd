"""A Redis that can be killed behind a network that can fail, and managers on one machine that use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio

from agentic_flywheel import Health, Saved, SessionManager, UniversalSession
from agentic_flywheel.config import JournalSettings, Limits, Settings, StoreSettings
from agentic_flywheel.resilience import GuardedStore, JournalledStore
from agentic_flywheel.wiring import open_manager
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.values import questions

PATIENCE = 30.0
BUDGET_MS = 200  # twice the default: the machines that run the tests are busy


class Outage:
    """One machine: a state folder, a server, and the network between."""

    def __init__(self, server: Server, proxy: Proxy, folder: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.folder = folder
        self.raw = redis.asyncio.Redis.from_url(server.url)
        self._opened: list[SessionManager] = []

    def settings(self, **journal: object) -> Settings:
        """The settings of a process on this machine."""
        values = {"budget_ms": BUDGET_MS} | journal
        return Settings(
            store=StoreSettings(url=self.proxy.url),
            journal=JournalSettings(**values),  # type: ignore[arg-type]  # passed on by name
            limits=Limits(turn_bytes=2_000_000, session_bytes=1_000_000),
            state_dir=str(self.folder),
        )

    def open(self, **journal: object) -> SessionManager:
        """A manager as another process of this machine has it."""
        manager = open_manager(self.settings(**journal))
        self._opened.append(manager)
        return manager

    async def document(self, session_id: str) -> UniversalSession | None:
        """The session that is in Redis itself."""
        raw = await self.raw.get(f"agentic_flywheel:session:{session_id}")
        return UniversalSession.from_json(raw) if raw is not None else None

    async def close(self) -> None:
        for manager in self._opened:
            await manager.close()
        await self.raw.aclose()


@asynccontextmanager
async def outage_on(server: Server, folder: Path) -> AsyncIterator[Outage]:
    """A machine whose processes reach the server through a proxy."""
    async with Proxy(server.port) as proxy:
        made = Outage(server, proxy, folder)
        try:
            yield made
        finally:
            await made.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.01)


async def until_replayed(manager: SessionManager) -> Health:
    """Wait until nothing waits any more, and the store is known to be back."""

    async def replayed() -> bool:
        health = await manager.health()
        return health.state == "ok" and not health.pending

    await until(replayed)
    return await manager.health()


async def until_open(manager: SessionManager) -> None:
    """Ask until callers are turned away without a wait."""

    async def is_open() -> bool:
        await manager.load("nobody")
        return not guard_of(manager).breaker.admits

    await until(is_open)


@asynccontextmanager
async def nobody_replays(manager: SessionManager) -> AsyncIterator[None]:
    """Take the right to replay, as a process that is slow about it would."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with journalled(manager).journal.replaying() as ours:
                if ours:
                    yield
                    return
            await asyncio.sleep(0.01)


def journalled(manager: SessionManager) -> JournalledStore:
    store = manager.store
    assert isinstance(store, JournalledStore)
    return store


def guard_of(manager: SessionManager) -> GuardedStore:
    store = manager.store
    inner = store.inner if isinstance(store, JournalledStore) else store
    assert isinstance(inner, GuardedStore)
    return inner


def conversation(*asked: object, **fields: object) -> UniversalSession:
    session = UniversalSession(backend="custom", **fields)  # type: ignore[arg-type]  # passed on by name
    return ask(session, *asked)


def ask(session: UniversalSession, *asked: object) -> UniversalSession:
    for question in asked:
        session.record(question=question, response=f"answer to {question}", flow_id="f")
    return session


async def save(manager: SessionManager, session: UniversalSession, *asked: object) -> Saved:
    """Ask, save, and see that it is safe."""
    saved = await manager.save_session(ask(session, *asked))
    assert saved, saved.reason
    return saved


async def asked_in(where: Outage | SessionManager, session_id: str) -> list[object]:
    """What was asked in a session, as Redis has it or as a manager sees it."""
    if isinstance(where, SessionManager):
        return questions(await where.require(session_id))
    document = await where.document(session_id)
    assert document is not None
    return questions(document)
