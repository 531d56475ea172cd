"""``flywheel keys``, and the other commands where sessions are encrypted."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from agentic_flywheel.config import Settings
from agentic_flywheel.wiring import open_manager
from tests.cli.command import fails, flywheel
from tests.cli.conftest import conversation, store
from tests.support.bytes_kept import in_files


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> str:
    """A master key, as the command makes it, in the environment."""
    key = flywheel("keys", "new").text.strip()
    assert len(base64.b64decode(key, validate=True)) == 32
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", key)
    return key


async def test_rotating(master: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a new key in front; afterwards the older one opens nothing any more."""
    await store(open_manager(Settings.load()), conversation("a"), conversation("b"))
    assert b"question 1" not in in_files(state)
    newer = flywheel("keys", "new").text.strip()
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", f"{newer},{master}")
    assert flywheel("keys", "rotate", "--json").json == {"sessions": 2, "wrapped": 2, "ended": 0, "failed": {}}
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", newer)
    assert "question 1" in flywheel("sessions", "show", "a").text
    assert "about a" in flywheel("sessions", "list").text
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", master)
    assert "is wrapped by the master key" in fails(1, "sessions", "show", "a")
    assert [line["title"] for line in flywheel("sessions", "list", "--json").json] == [None, None]
    done = flywheel("keys", "rotate")
    assert done.code == 1
    assert "failed: a: the key of session 'a' is wrapped by" in done.errors
    assert master not in done.errors + done.text


async def test_copying_takes_the_keys_along(master: str, kv_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And may be done again; what is copied is as sealed as before."""
    await store(open_manager(Settings.load()), conversation("a"), conversation("b"))
    for _ in range(2):
        copied = flywheel("sessions", "copy", "--to", kv_url, "--json").json
        assert (copied["sessions"], copied["executions"], copied["skipped"]) == (2, 6, {})
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", kv_url)
    assert "answer 2" in flywheel("sessions", "show", "b").text
    assert b"answer 2" not in flywheel("sessions", "show", "--raw", "b").raw


async def test_what_doctor_says(master: str) -> None:
    """Which master key wraps, by its id, and where the keys of sessions are."""
    await store(open_manager(Settings.load()), conversation("a"))
    report = flywheel("doctor")
    assert report.code == 0
    assert "encryption: master key" in report.text
    assert "keys.db" in report.text
    assert master not in report.text


def test_without_a_master_key() -> None:
    """There is nothing to rotate, and doctor says so."""
    assert "there is no master key" in fails(2, "keys", "rotate")
    assert "encryption: is off" in flywheel("doctor").text
