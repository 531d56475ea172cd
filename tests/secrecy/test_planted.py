"""Secrets that are planted wherever people put something are in no byte that is kept."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import JournalSettings, SecretSettings, Settings, StoreSettings
from agentic_flywheel.manager.importing import import_session, under_new_id
from agentic_flywheel.session import InFlight
from agentic_flywheel.wiring import open_manager
from tests.resilience.conftest import outage, server  # noqa: F401  # fixtures
from tests.resilience.outage import Outage, until_replayed
from tests.secrecy.planted import ALL, NAMED, SECRETS, conversation, execution, found_in
from tests.support.bytes_kept import in_files, in_redis

Kept = Callable[[], Awaitable[bytes]]


@pytest.fixture(params=["sqlite", "redis-server", "valkey"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Kept]:
    """Settings for a store of each kind, and a look at every byte that it keeps."""
    folder = tmp_path / "state"
    if request.param == "sqlite":
        settings, url = Settings(state_dir=str(folder)), None
    else:
        fixture = "redis_server" if request.param == "redis-server" else "valkey_server"
        url = f"{request.getfixturevalue(fixture).url}/15"
        settings = Settings(store=StoreSettings(url=url, prefix=f"secrets-{tmp_path.name}"), state_dir=str(folder))
    settings = replace(settings, journal=JournalSettings(budget_ms=20_000))  # the machine is busy

    async def kept() -> bytes:
        return in_files(folder) + (await in_redis(url) if url else b"")

    return settings, kept


async def put_everything(manager: SessionManager) -> UniversalSession:
    """Use each way into the store."""
    session = conversation()
    turn = InFlight("turn_in_flight", ALL, "f")
    assert await manager.turns.claim(session.id, turn) is None
    assert await manager.save_session(session, executions=[execution(session)])
    assert await manager.save_execution(execution(session))
    session.history[0]["response"]["more"] = {"password": NAMED}
    session.context["later"] = ALL
    assert await manager.save_session(session)
    return session


async def put_copies(manager: SessionManager, session: UniversalSession) -> None:
    """Use the ways on which a session becomes another one, or comes from outside."""
    await manager.fork_session(session.id)
    for given in (conversation(), under_new_id(conversation()), conversation(session.id)):
        assert (await import_session(manager, given)).saved


async def test_no_planted_secret_is_kept(place: tuple[Settings, Kept], caplog: pytest.LogCaptureFixture) -> None:
    """Not in sessions, executions, histories or claims, nor in any file, while it is written or afterwards."""
    settings, kept = place
    caplog.set_level(logging.DEBUG)
    async with open_manager(settings) as manager:
        await put_copies(manager, await put_everything(manager))
        assert found_in(await kept()) == []
    assert b"[masked]" in (bytes_kept := await kept())
    assert found_in(bytes_kept + caplog.text.encode()) == []


async def test_the_search_finds_what_is_there(place: tuple[Settings, Kept]) -> None:
    """With masking switched off, every one of them is found: so the test above can fail."""
    settings, kept = place
    async with open_manager(replace(settings, secrets=SecretSettings(mask=False))) as manager:
        await put_copies(manager, await put_everything(manager))
        assert found_in(await kept()) == SECRETS


async def test_no_planted_secret_is_journalled(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    """Nor is it in what a machine knows of sessions by itself, nor in Redis after the replay."""
    caplog.set_level(logging.DEBUG)
    manager = outage.open()
    await manager.save_session(conversation())
    outage.server.kill()
    await put_everything(manager)
    assert b"[masked]" in in_files(outage.folder)
    assert found_in(in_files(outage.folder)) == []
    outage.server.restart()
    await until_replayed(manager)
    await manager.close()
    assert found_in(in_files(outage.folder) + await in_redis(outage.server.url) + caplog.text.encode()) == []
