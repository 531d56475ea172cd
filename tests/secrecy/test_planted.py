"""Secrets that are planted wherever people put something are in no byte that is kept."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from agentic_flywheel.config import SecretSettings
from agentic_flywheel.wiring import open_manager
from tests.resilience.outage import Outage, until_replayed
from tests.secrecy.conftest import Place
from tests.secrecy.planted import SECRETS, conversation, found_in, put_copies, put_everything
from tests.support.bytes_kept import in_files, in_redis


async def test_no_planted_secret_is_kept(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Not in sessions, executions, histories or claims, nor in any file, while it is written or afterwards."""
    caplog.set_level(logging.DEBUG)
    async with open_manager(place.settings) as manager:
        await put_copies(manager, await put_everything(manager))
        assert found_in(await place.kept()) == []
    assert b"[masked]" in (bytes_kept := await place.kept())
    assert found_in(bytes_kept + caplog.text.encode()) == []


async def test_the_search_finds_what_is_there(place: Place) -> None:
    """With masking switched off, every one of them is found: so the test above can fail."""
    async with open_manager(replace(place.settings, secrets=SecretSettings(mask=False))) as manager:
        await put_copies(manager, await put_everything(manager))
        assert found_in(await place.kept()) == SECRETS


async def test_no_planted_secret_is_journalled(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
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
