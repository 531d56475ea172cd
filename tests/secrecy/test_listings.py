"""Titles are sealed in the store, and stand in listings for whoever has the keys."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from mcp import Client
from msgspec.structs import replace

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import EncryptionSettings, JournalSettings, Settings, StoreSettings
from agentic_flywheel.flywheel import Flywheel
from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.mcp_server.server import build_server
from agentic_flywheel.stores import Change
from agentic_flywheel.wiring import open_manager
from tests.resilience.outage import until
from tests.secrecy.conftest import OLDER, Place
from tests.support.http_server import result_of
from tests.support.proxy import Proxy
from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("encrypted")


async def begun(manager: SessionManager, title: str, session: UniversalSession | None = None) -> UniversalSession:
    session = session or UniversalSession(backend="custom")
    session.metadata["title"] = title
    assert (await manager.save_session(session)).outcome == "stored"
    return session


async def titles(manager: SessionManager, limit: int = 20) -> list[str | None]:
    return [summary.title for summary in await manager.list_sessions(limit)]


async def test_whose_key_is_gone_is_listed_without_a_title(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Erased, or wrapped by another master key: the others have theirs, and nobody is left out."""
    caplog.set_level(logging.DEBUG)
    async with open_manager(place.settings) as manager:
        erased, kept = await begun(manager, "erased"), await begun(manager, "a kept title")
        assert manager.forms.vault is not None
        await manager.forms.vault.erase(erased.id)
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", OLDER)
    async with open_manager(place.settings) as manager:
        newer = await begun(manager, "a newer one")
        listed = {summary.id: summary.title for summary in await manager.list_sessions()}
        assert listed == {erased.id: None, kept.id: None, newer.id: "a newer one"}
    assert "left out" not in caplog.text
    assert "a kept title" not in caplog.text


async def test_a_session_that_was_tampered_with_is_listed_without_a_title(place: Place) -> None:
    """What was put into another place is not shown, and hides neither the session nor the others."""
    async with open_manager(place.settings) as manager:
        forged = UniversalSession(backend="custom", context={"topic": "a secret topic"})
        await begun(manager, "another", forged)
        await begun(manager, "good")
        stored = await manager.store.read(forged.id)
        assert stored is not None
        head = decode(stored.head)
        names = list(head["sealed"])
        head["sealed"] = dict(zip(names, reversed(head["sealed"].values()), strict=True))
        change = Change(forged.id, stored.mark, stored.head, encode(head), stored.last_active)
        await manager.store.write(change, limit=10_000)
        assert (await manager.load(forged.id)).state == "damaged"
        assert await titles(manager) == ["good", None]


async def test_keys_of_a_listing_share_their_round_trips(redis_server: Server, tmp_path: Path) -> None:
    """Forty titles cost as many requests as ten; those that are known cost none."""
    async with Proxy(redis_server.port) as proxy:
        store = StoreSettings(url=proxy.url, prefix=tmp_path.name)
        settings = Settings(store=store, state_dir=str(tmp_path), journal=JournalSettings(budget_ms=20_000))
        async with open_manager(settings) as manager:
            for number in range(40):
                await begun(manager, f"title {number}")
        took = {}
        for limit in (10, 40):
            async with open_manager(settings) as manager:
                await manager.open()
                for again in (False, True):
                    before = len(proxy.requests)
                    assert len(set(await titles(manager, limit)) - {None}) == limit
                    took[limit, again] = len(proxy.requests) - before
        assert took[40, False] <= took[10, False] + 2  # connections that open say hello
        assert took[40, True] == took[10, True] == 2  # the index, and the heads


async def test_a_store_of_keys_that_is_away(own_server: Server, tmp_path: Path) -> None:
    """The listing comes without titles, within the budget of a call; and with them when it is back."""
    encryption = EncryptionSettings(keys_url=own_server.url)
    settings = Settings(state_dir=str(tmp_path), encryption=encryption)
    patient = replace(settings, journal=JournalSettings(budget_ms=20_000))
    async with open_manager(patient) as manager:
        for title in ("one", "two"):
            await begun(manager, title)
    async with open_manager(settings) as manager:
        own_server.pause()
        assert await titles(manager) == [None, None]
        own_server.resume()

        async def all_there() -> bool:
            return set(await titles(manager)) == {"one", "two"}

        await until(all_there)


async def test_tools_show_titles(place: Place) -> None:
    """Those of MCP, and what is resumed without a handle."""
    async with Client(build_server(Flywheel.from_settings(place.settings)), mode="auto") as client:
        made = await result_of(client, "create_session", title="a sealed title")
    async with Client(build_server(Flywheel.from_settings(place.settings)), mode="auto") as client:
        (line,) = (await result_of(client, "list_sessions"))["sessions"]
        assert (line["session_id"], line["title"]) == (made["session_id"], "a sealed title")
        assert (await result_of(client, "resume_session"))["title"] == "a sealed title"
    assert b"a sealed title" not in await place.kept()
