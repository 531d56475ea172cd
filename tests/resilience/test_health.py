"""What the health says is true at every moment of an outage, and the log tells no conversation."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from tests.resilience.outage import (
    Outage,
    ask,
    conversation,
    nobody_replays,
    outage_on,
    save,
    until,
    until_open,
    until_replayed,
)
from tests.support.servers import Server

SECRETS = ("planted question", "planted answer", "planted context", "planted title")


async def test_before_anything(outage: Outage) -> None:
    """A healthy store is ok, with how long it took to answer and what it says of itself."""
    manager = outage.open()
    health = await manager.health()
    assert (health.state, health.store, health.error) == ("ok", "redis", None)
    assert (health.pending, health.pending_bytes, health.oldest_pending, health.refused) == (0, 0, None, 0)
    assert health.latency_ms is not None
    assert "redis_version" in health.facts


async def test_through_an_outage(outage: Outage) -> None:
    """It says since when the store is away, what waits since when, and when it is back that nothing does."""
    manager = outage.open()
    session = conversation(id="s")
    await save(manager, session, 1)
    outage.server.kill()
    begun = time.time()
    for number in range(5):
        await save(manager, session, number)
    await until_open(manager)
    health = await manager.health()
    assert (health.state, health.pending) == ("unavailable", 5)
    assert "cannot be reached" in (health.error or "")
    assert health.pending_bytes > 500
    assert begun - 1 <= (health.oldest_pending or 0) <= time.time() + 1
    assert begun - 1 <= (health.since or 0) <= time.time() + 1
    outage.server.restart()
    healthy = await until_replayed(manager)
    assert (healthy.state, healthy.pending_bytes, healthy.oldest_pending) == ("ok", 0, None)
    assert (healthy.since or 0) > (health.since or 0)
    assert healthy.counts["journalled"] == 5


async def test_while_another_process_replays(outage: Outage) -> None:
    """While the store is back and something waits it is replaying."""
    manager = outage.open()
    outage.server.kill()
    await save(manager, conversation(1, id="s"))
    async with nobody_replays(manager):
        outage.server.restart()

        async def replaying() -> bool:
            return (await manager.health()).state in ("replaying", "ok")

        await until(replaying)
        assert (await manager.health()).pending == 1
    await until_replayed(manager)


async def test_the_log(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """Each change of state is one line, whatever is called how often, and no line holds what anybody said."""
    caplog.set_level(logging.DEBUG)
    manager = outage.open(limit_bytes=40_000)
    session = conversation(id="s", context={"k": SECRETS[2]})
    session.metadata["title"] = SECRETS[3]
    outage.server.kill()
    for number in range(60):
        session.record(question=f"{SECRETS[0]} {number}", response=f"{SECRETS[1]} {'x' * 900}", flow_id="f")
        await manager.save_session(session)
        await manager.load("s")
        await manager.load("nobody")
        await manager.list_sessions()
        await manager.health()
    outage.server.restart()
    await until_replayed(manager)
    await save(manager, session)
    states = [r.getMessage().split()[1] for r in caplog.records if r.name == "agentic_flywheel.store"]
    assert states == ["state=unavailable", "state=available"]
    written = "\n".join(record.getMessage() + str(record.exc_info or "") for record in caplog.records)
    assert [secret for secret in SECRETS if secret in written] == []
    assert manager.meter.counts["refused"] > 0, "the journal was full for a time"


async def test_a_state_folder_that_cannot_be_looked_at(server: Server, tmp_path: Path) -> None:
    """Its name may be too long, or a folder above it another user's: health says so, and raises nothing."""
    async with outage_on(server, tmp_path / ("x" * 300)) as outage:
        manager = outage.open()
        assert (await save(manager, conversation(id="s"), 1)).outcome == "stored"
        assert "name too long" in str((await manager.health()).error)
        assert (await manager.load("s")).state == "found"
        outage.server.kill()
        assert (await manager.save_session(ask(conversation(id="s"), 2))).outcome == "refused"
        assert (await manager.health()).state == "unavailable"
