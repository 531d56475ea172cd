"""What ``coaia`` users have already: their program reads our documents, and we go on with theirs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.stores.redis_store import RedisStore
from tests.support.coaia import Coaia
from tests.support.raw import bytes_at
from tests.support.servers import Server
from tests.support.values import PUBLISHED

KEY = "agentic_flywheel:session:session_abc123"
WEEK = 7 * 24 * 3600


@pytest.fixture
async def manager(own_server: Server) -> AsyncIterator[SessionManager]:
    async with SessionManager(RedisStore(own_server.url)) as manager:
        yield manager


@pytest.fixture
async def raw(own_server: Server) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(own_server.url) as client:
        yield client


async def go_on(manager: SessionManager) -> UniversalSession:
    """Load the session, record a turn, save it."""
    session = await manager.require("session_abc123")
    session.record(question="Et après ? 🙂\n", response='"quoted"\\')
    saved = await manager.save_session(session)
    assert saved, saved.reason
    return session


async def test_fetch(coaia: Coaia, manager: SessionManager, raw: redis.asyncio.Redis) -> None:
    """`coaia fetch` prints exactly the document, byte for byte, and that is JSON with the published fields."""
    await manager.save_session(UniversalSession.from_json(PUBLISHED))
    session = await go_on(manager)
    printed = coaia.fetch(KEY)
    assert printed.encode() == await bytes_at(raw, KEY) + b"\n"
    document = json.loads(printed)
    assert document["history"] == session.to_dict()["history"]
    assert (
        document.items() >= {name: value for name, value in session.to_dict().items() if name != "layout"}.items()
    )


@pytest.mark.parametrize("options", [[], ["-T", "0"], ["-T", "5"], ["-T", "99999"]], ids=" ".join)
@pytest.mark.parametrize("compact", [True, False], ids=["compact", "as published"])
async def test_tash(
    coaia: Coaia, manager: SessionManager, raw: redis.asyncio.Redis, options: list[str], compact: bool
) -> None:
    """A document that `coaia tash` wrote, with any time to live, goes on, and gets ours with the next save."""
    coaia.tash(KEY, json.dumps(json.loads(PUBLISHED), separators=(",", ":")) if compact else PUBLISHED, *options)
    assert not WEEK - 60 < await raw.ttl(KEY) <= WEEK
    session = await manager.require("session_abc123")
    assert json.loads(PUBLISHED).items() <= session.to_dict().items()
    await go_on(manager)
    assert WEEK - 60 < await raw.ttl(KEY) <= WEEK
    document = json.loads(coaia.fetch(KEY))
    assert document["history"][:-1] == json.loads(PUBLISHED)["history"]
    assert document["history"][-1]["question"] == "Et après ? 🙂\n"


async def test_there_and_back(coaia: Coaia, manager: SessionManager, raw: redis.asyncio.Redis) -> None:
    """A document that was fetched and tashed over ours while we hold the session loses nothing."""
    await manager.save_session(UniversalSession.from_json(PUBLISHED))
    held = await go_on(manager)
    coaia.tash(KEY, coaia.fetch(KEY).removesuffix("\n"), "-T", "0")
    assert await raw.ttl(KEY) == -1
    held.record(question="held", response="r")
    assert await manager.save_session(held)
    assert [turn.question for turn in (await manager.require(held.id)).history][-2:] == ["Et après ? 🙂\n", "held"]
    assert WEEK - 60 < await raw.ttl(KEY) <= WEEK


async def test_an_older_copy(coaia: Coaia, manager: SessionManager) -> None:
    """An older copy that was tashed over ours loses no turn of a session that somebody still holds."""
    await manager.save_session(UniversalSession.from_json(PUBLISHED))
    copy = coaia.fetch(KEY).removesuffix("\n")
    held = await go_on(manager)
    coaia.tash(KEY, copy)
    held.record(question="held", response="r")
    assert await manager.save_session(held)
    assert [turn.question for turn in (await manager.require(held.id)).history] == [
        "What is creative orientation?",
        "Et après ? 🙂\n",
        "held",
    ]
