"""Stores and protocol eras, the same for the servers of all frameworks."""

import sys
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from tests.docs.examples import PATIENT
from tests.support.servers import Server


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with other tests, a healthy Redis is waited for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flywheel.toml").write_text(PATIENT, "utf-8")


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """How the client negotiates: it lands on 2026-07-28, or on the older handshake."""
    return cast(str, request.param)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file for this test alone."""
    return f"sqlite://{tmp_path / 'sessions.db'}"


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """A store for this test alone."""
    return cast(str, request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "redis_url"))


@pytest.fixture
def redis_url(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The session's Redis, and a prefix for this test alone."""
    monkeypatch.setenv("FLYWHEEL_PREFIX", f"mcp-{uuid4().hex}")
    return redis_server.url


@pytest.fixture(params=["sqlite", "redis"])
def environ(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """What tells the shop where to keep its sessions."""
    (tmp_path / "flywheel.toml").write_text(PATIENT, "utf-8")
    common = {
        "FLYWHEEL_CONFIG": str(tmp_path / "flywheel.toml"),
        "FLYWHEEL_STATE_DIR": str(tmp_path / "state"),
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    if request.param == "sqlite":
        return common
    server: Server = request.getfixturevalue("redis_server")
    return {**common, "FLYWHEEL_REDIS_URL": server.url, "FLYWHEEL_PREFIX": f"shop-{uuid4().hex}"}
