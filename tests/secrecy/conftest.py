"""Places where things are kept, and a look at every byte in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from agentic_flywheel.config import JournalSettings, Settings, StoreSettings
from tests.resilience.conftest import outage, server
from tests.support.bytes_kept import in_files, in_redis

__all__ = ["outage", "server"]

MASTER, OLDER = "q" * 43 + "=", "A" * 43 + "="


@dataclass(frozen=True)
class Place:
    """Where a store keeps what it keeps."""

    settings: Settings
    folder: Path
    url: str | None

    async def kept(self) -> bytes:
        """Every byte."""
        return in_files(self.folder) + (await in_redis(self.url, self.settings.store.prefix) if self.url else b"")


@pytest.fixture(params=["sqlite", "redis-server", "valkey"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A store of each kind, empty."""
    folder = tmp_path / "state"
    settings, url = Settings(state_dir=str(folder)), None
    if request.param != "sqlite":
        fixture = "redis_server" if request.param == "redis-server" else "valkey_server"
        url = f"{request.getfixturevalue(fixture).url}/15"
        settings = replace(settings, store=StoreSettings(url=url, prefix=f"secrets-{tmp_path.name}"))
    return Place(replace(settings, journal=JournalSettings(budget_ms=20_000)), folder, url)  # the machine is busy


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A master key."""
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", MASTER)
