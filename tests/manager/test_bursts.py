"""Very many, and very large: what is ready at the same moment, and what grows without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import Settings, StoreSettings
from agentic_flywheel.stores.redis_pieces import PIECE
from agentic_flywheel.wiring import open_manager
from tests.support.servers import Server

MB = 1024**2


@pytest.fixture(params=["redis", "sqlite"])
async def manager(
    request: pytest.FixtureRequest, redis_server: Server, tmp_path: Path
) -> AsyncIterator[SessionManager]:
    """A manager as its users have it: with the budget, the breaker and the journal."""
    url = redis_server.url if request.param == "redis" else None
    settings = Settings(store=StoreSettings(url=url, prefix=tmp_path.name), state_dir=str(tmp_path))
    async with open_manager(settings) as made:
        await made.open()
        yield made


async def count_turns(manager: SessionManager, session_id: str) -> int:
    return len((await manager.require(session_id)).history)


async def loaded_at_last(manager: SessionManager, session_id: str) -> UniversalSession:
    """A session, asked for until it can be read."""
    for _ in range(300):
        if (found := await manager.load(session_id)).state != "unavailable":
            break
        await asyncio.sleep(0.1)
    return found.need()


async def test_two_thousand_saves_at_once(redis_server: Server, tmp_path: Path) -> None:
    """All are accepted over a handful of connections, though together they take longer than the budget of each.

    On a machine that is free they are all stored, and read; where others take the processor, some go through the
    journal, and some of those who read are told in time that they cannot be served now.
    """
    settings = Settings(store=StoreSettings(url=redis_server.url, prefix=tmp_path.name), state_dir=str(tmp_path))
    async with open_manager(settings) as manager, redis.asyncio.from_url(redis_server.url) as client:
        await manager.open()
        opened = (await client.info("stats"))["total_connections_received"]
        sessions = [UniversalSession(backend="custom") for _ in range(2000)]
        for session in sessions:
            session.record(question="q", response="a" * 2000)
        saved = await asyncio.gather(*(manager.save_session(session) for session in sessions))
        assert all(saved)
        loaded = await asyncio.gather(*(loaded_at_last(manager, session.id) for session in sessions))
        assert loaded == sessions
        assert (await client.info("stats"))["total_connections_received"] - opened <= 4


async def test_ten_megabytes_in_one_save(manager: SessionManager) -> None:
    """A save of many turns at once is accepted, and comes back whole."""
    session = UniversalSession(backend="custom")
    for _ in range(5000):
        session.record(question="q", response="a" * 2000)
    assert await manager.save_session(session)
    assert await count_turns(manager, session.id) == 5000


async def test_a_turn_of_five_megabytes(manager: SessionManager) -> None:
    """It is stored like any other, and the turns around it are read as before."""
    session = UniversalSession(backend="custom")
    session.record(question="first", response="a")
    session.record(question="large", response="é" * (5 * MB // 2))
    assert await manager.save_session(session)
    session.record(question="last", response="z")
    assert await manager.save_session(session)
    assert (await manager.require(session.id)) == session
    assert [turn.question for turn in (await manager.require(session.id, last=2)).history] == ["large", "last"]


async def test_a_head_that_outgrows_its_block_again_and_again(manager: SessionManager) -> None:
    """A context grows to 2 MB in a session whose turns take several pieces; each save keeps all of both."""
    session = UniversalSession(backend="custom")
    for _ in range(3 * PIECE // 2 // MB):
        session.record(question="q", response="a" * MB)
    assert await manager.save_session(session)
    for number in range(20):
        session.context[f"part {number}"] = "c" * (2 * MB // 20)
        if number % 3 == 0:
            session.record(question=f"question {number}", response="a")
        assert await manager.save_session(session)
        assert (await manager.require(session.id, last=1)).context == session.context
    assert await manager.require(session.id) == session
