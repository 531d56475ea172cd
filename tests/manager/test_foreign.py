"""Documents that other programs wrote, or wrote over, load and are continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from tests.stores.worlds import RedisWorld
from tests.support.raw import bytes_at
from tests.support.values import PUBLISHED, questions

WEEK = 7 * 24 * 3600
DOCUMENT: dict[str, Any] = json.loads(PUBLISHED)

WRITINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "published": lambda document: json.dumps(document, indent=2),
    "compact": lambda document: json.dumps(document, separators=(",", ":")),
    "another order": lambda document: json.dumps(dict(reversed(document.items()))),
    "pretty": lambda document: "\n\t" + json.dumps(document, indent="\t\t", ensure_ascii=True) + "\n\n",
    "unknown status": lambda document: json.dumps(document | {"status": "on fire"}),
    "extra fields": lambda document: json.dumps(
        document | {"tenant": {"id": 7}, "layout": "theirs", "revision": "x"}
    ),
    "no id": lambda document: json.dumps({name: value for name, value in document.items() if name != "id"}),
    "no history": lambda document: json.dumps(document | {"history": None}),
    "other turns": lambda document: json.dumps(document | {"history": [{"role": "user", "content": "\n]}"}] * 3}),
}


@pytest.fixture
def manager(redis_world: RedisWorld) -> SessionManager:
    return SessionManager(redis_world.store)


@pytest.fixture
def key(redis_world: RedisWorld) -> str:
    return f"{redis_world.prefix}:session:session_abc123"


async def load(manager: SessionManager) -> UniversalSession:
    session = await manager.load_session("session_abc123")
    assert session is not None
    return session


async def go_on(manager: SessionManager, *asked: Any) -> UniversalSession:
    session = await load(manager)
    for question in asked:
        session.record(question=question, response="r")
    saved = await manager.save_session(session)
    assert saved, saved.reason
    return session


@pytest.mark.parametrize("write", WRITINGS.values(), ids=WRITINGS)
@pytest.mark.parametrize("ttl", [None, 100_000_000], ids=["no ttl", "another ttl"])
async def test_a_document_of_others(
    redis_world: RedisWorld,
    manager: SessionManager,
    key: str,
    write: Callable[[dict[str, Any]], str],
    ttl: int | None,
) -> None:
    """A document that somebody else wrote goes on with nothing lost, and has our time to live from then on."""
    text = write(DOCUMENT)
    await redis_world.raw.set(key, text, ex=ttl)
    await go_on(manager, "new")
    after = json.loads(await bytes_at(redis_world.raw, key))
    expected = json.loads(text)
    turns = expected.pop("history") or []
    metadata = expected.pop("metadata")
    assert (
        after.items()
        >= {name: value for name, value in expected.items() if name not in ("layout", "revision")}.items()
    )
    assert after["history"][:-1] == turns
    assert after["history"][-1]["question"] == "new"
    assert after["metadata"]["created_at"] == metadata["created_at"]
    assert WEEK - 60 < await redis_world.raw.ttl(key) <= WEEK


async def test_the_layout_of_others_is_replaced_once(
    redis_world: RedisWorld, manager: SessionManager, key: str
) -> None:
    """After the first save the document is in our layout, and the next turns are appended to it."""
    await redis_world.raw.set(key, PUBLISHED)
    session = await go_on(manager, 1)
    assert (await bytes_at(redis_world.raw, key)).startswith(b'{"revision": ')
    before = (await redis_world.store.read(session.id)).mark  # type: ignore[union-attr]  # just saved
    await go_on(manager, 2)
    after = (await redis_world.store.read(session.id)).mark  # type: ignore[union-attr]  # just saved
    assert after.epoch == before.epoch


@pytest.mark.parametrize("indent", [None, 2])
async def test_ours_rewritten_by_others(
    redis_world: RedisWorld, manager: SessionManager, key: str, indent: int | None
) -> None:
    """Our document, read and written again by another JSON library while we hold the session, goes on."""
    await manager.save_session(UniversalSession.from_json(PUBLISHED))
    held = await load(manager)
    rewritten = json.dumps(json.loads(await bytes_at(redis_world.raw, key)), indent=indent)
    await redis_world.raw.set(key, rewritten)
    held.record(question="held", response="r")
    assert await manager.save_session(held)
    await go_on(manager, "loaded")
    assert questions(await load(manager)) == ["What is creative orientation?", "held", "loaded"]
    assert 0 < await redis_world.raw.ttl(key) <= WEEK


async def test_a_document_that_others_edited_meanwhile(
    redis_world: RedisWorld, manager: SessionManager, key: str
) -> None:
    """What others changed, added and removed in the document while we held the session stands beside our turn."""
    await redis_world.raw.set(key, PUBLISHED)
    held = await go_on(manager, "first", "second")
    document = json.loads(await bytes_at(redis_world.raw, key))
    del document["history"][1]
    document["history"].append({"role": "user", "content": "theirs"})
    document["context"] = {"topic": "another"}
    document["status"] = "reviewed"
    await redis_world.raw.set(key, json.dumps(document))
    held.record(question="ours", response="r")
    held.context["ours"] = 1
    assert await manager.save_session(held)
    again = await load(manager)
    assert questions(again) == ["What is creative orientation?", "second", None, "ours"]
    assert again.history[2]["content"] == "theirs"
    assert again.context == {"topic": "another", "ours": 1}
    assert again.status == held.status == "reviewed"


async def test_our_ttl_gone(redis_world: RedisWorld, manager: SessionManager, key: str) -> None:
    """A time to live that somebody took away or changed is ours again a second later, by a load or a save."""
    await manager.save_session(UniversalSession.from_json(PUBLISHED))
    for seconds in (None, 5):
        await redis_world.raw.set(key, await bytes_at(redis_world.raw, key), ex=seconds)
        await redis_world.wait(1)
        session = await load(manager)
        assert WEEK - 60 < await redis_world.raw.ttl(key) <= WEEK
        await redis_world.wait(1)
        await redis_world.raw.set(key, await bytes_at(redis_world.raw, key), ex=seconds)
        await manager.save_session(session)
        assert WEEK - 60 < await redis_world.raw.ttl(key) <= WEEK


async def test_sessions_of_others_are_found(redis_world: RedisWorld, manager: SessionManager, key: str) -> None:
    """A session that somebody else wrote is listed once it was looked for, or saved."""
    await redis_world.raw.set(key, PUBLISHED)
    assert await manager.list_sessions() == []
    assert await redis_world.store.reindex() == 1
    (summary,) = await manager.list_sessions()
    assert (summary.id, summary.title, summary.turns) == ("session_abc123", "structural tension", 1)


async def test_a_saved_execution_is_one_document(
    redis_world: RedisWorld, manager: SessionManager, key: str
) -> None:
    """Executions and flow histories are JSON that any program reads, with the times to live of their kind."""
    await redis_world.raw.set(key, PUBLISHED)
    session = await load(manager)
    turn = session.record(question="q", response="r")
    await manager.save_session(session)
    names = {"execution": turn["id"], "history": "session_abc123:csv2507"}
    keys = {kind: f"{redis_world.prefix}:{kind}:{name}" for kind, name in names.items()}
    assert json.loads(await bytes_at(redis_world.raw, keys["execution"]))["output"] == "r"
    assert [entry["id"] for entry in json.loads(await bytes_at(redis_world.raw, keys["history"]))] == [turn["id"]]
    for each in keys.values():
        assert WEEK - 60 < await redis_world.raw.ttl(each) <= WEEK
