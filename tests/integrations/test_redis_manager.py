"""The published way in: three lines, with a Redis and without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentic_flywheel import UniversalSession
from agentic_flywheel.config import Limits
from agentic_flywheel.errors import ConfigError
from agentic_flywheel.integrations import RedisSessionManager
from tests.support.values import PUBLISHED

# What the specification shows, word for word, and in its line lengths.
# ruff: noqa: E501
PUBLISHED_USE = """
from agentic_flywheel import UniversalSession
from agentic_flywheel.integrations import RedisSessionManager

redis_mgr = RedisSessionManager(enabled=True, ttl_seconds=604800)   # url= or FLYWHEEL_REDIS_URL / REDIS_URL; none: embedded
saved = await redis_mgr.save_session(session)                       # truthy when the session is safe; says where it is
session = await redis_mgr.load_session("session_abc123")            # even after a restart; last=20 for the newest 20 turns only
"""

_RUN = """
import asyncio, sys, textwrap
{before}
from agentic_flywheel import UniversalSession
session = UniversalSession.from_json({document!r})
async def main(session):
{use}
    await redis_mgr.close()
    print(saved.outcome, saved.where, len(session.history), "redis" in sys.modules)
asyncio.run(main(session))
"""

_NO_REDIS = """
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "redis":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def run(use: str, before: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that runs the lines in a coroutine, and says what came of it."""
    lines = "\n".join(f"    {line}" for line in use.strip().splitlines())
    program = _RUN.format(before=before, document=PUBLISHED, use=lines)
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def session() -> UniversalSession:
    return UniversalSession.from_json(PUBLISHED)


@pytest.mark.parametrize("variable", ["FLYWHEEL_REDIS_URL", "REDIS_URL"])
def test_the_published_lines_on_redis(kv_url: str, variable: str, tmp_path: Path) -> None:
    """The published lines, word for word, keep the session in the Redis that a variable names."""
    patient = tmp_path / "flywheel.toml"
    patient.write_text("[journal]\nbudget_ms = 1000")  # the machines that run the tests are busy
    environ = {variable: kv_url, "FLYWHEEL_STATE_DIR": str(tmp_path), "FLYWHEEL_CONFIG": str(patient)}
    done = run(PUBLISHED_USE, **environ)
    assert done.stdout == f"stored {kv_url} 1 True\n", done.stderr
    again = run(
        "redis_mgr = RedisSessionManager()\nsaved = await redis_mgr.save_session(session)".replace(
            "redis_mgr =", "from agentic_flywheel.integrations import RedisSessionManager\nredis_mgr ="
        )
        + '\nsession = await redis_mgr.load_session("session_abc123")',
        **environ,
    )
    assert again.stdout == done.stdout, again.stderr


def test_the_published_lines_without_redis(tmp_path: Path) -> None:
    """Without a Redis the published lines keep the session in one SQLite file, for the next process too."""
    for _ in range(2):
        done = run(PUBLISHED_USE, FLYWHEEL_STATE_DIR=str(tmp_path / "state"))
        assert done.stdout == f"stored {tmp_path / 'state' / 'sessions.db'} 1 False\n", done.stderr


def test_without_the_redis_package(tmp_path: Path) -> None:
    """Where the redis package is not installed everything works but a Redis, which names the install command."""
    done = run(PUBLISHED_USE, _NO_REDIS, FLYWHEEL_STATE_DIR=str(tmp_path))
    assert done.stdout == f"stored {tmp_path / 'sessions.db'} 1 False\n", done.stderr
    asked = run(PUBLISHED_USE, _NO_REDIS, FLYWHEEL_STATE_DIR=str(tmp_path), REDIS_URL="redis://localhost")
    assert asked.returncode == 1
    assert "MissingExtra" in asked.stderr
    assert "pip install 'agentic-flywheel[redis]'" in asked.stderr


async def test_switched_off(session: UniversalSession, tmp_path: Path) -> None:
    """With enabled=False everything is in memory, a save says "off", and no file or connection is made."""
    async with RedisSessionManager(enabled=False, url="redis://nowhere", state_dir=tmp_path / "state") as manager:
        saved = await manager.save_session(session)
        assert (saved.outcome, bool(saved)) == ("off", False)
        assert await manager.load_session(session.id) == session
    assert not (tmp_path / "state").exists()


async def test_switched_off_by_the_file(
    session: UniversalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings file may switch persistence off; an argument does not switch it on again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flywheel.toml").write_text("[store]\nenabled = false")
    assert (await RedisSessionManager(enabled=True).save_session(session)).outcome == "off"


async def test_arguments_win(session: UniversalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments win over variables: where it is kept, for how long, under which prefix, and how large."""
    for name, value in {
        "REDIS_URL": "redis://nowhere",
        "TTL_SECONDS": "5",
        "STATE_DIR": str(tmp_path / "no"),
    }.items():
        monkeypatch.setenv(f"FLYWHEEL_{name}", value)
    path = tmp_path / "mine.db"
    for turn_bytes, outcome in ((100, "refused"), (1000, "stored")):
        manager = RedisSessionManager(
            True,
            60,
            f"sqlite://{path}",
            execution_ttl_seconds=0,
            history_ttl_seconds=7,
            limits=Limits(turn_bytes=turn_bytes),
        )
        async with manager:
            assert (manager.ttl.session, manager.ttl.execution, manager.ttl.history) == (60, 0, 7)
            saved = await manager.save_session(session)
            assert (saved.outcome, saved.where) == (outcome, str(path))
    assert path.exists()


async def test_prefix(session: UniversalSession, kv_url: str, tmp_path: Path) -> None:
    """Managers with different prefixes do not see each other in one database."""
    one = RedisSessionManager(url=kv_url, prefix="one", state_dir=tmp_path)
    two = RedisSessionManager(url=kv_url, prefix="two", state_dir=tmp_path)
    async with one, two:
        assert await one.save_session(session)
        assert await two.load_session(session.id) is None
        assert await one.load_session(session.id) == session


def test_wrong_arguments(tmp_path: Path) -> None:
    """Wrong arguments are ConfigErrors that name them."""
    for seconds in (-1, 10**12):
        with pytest.raises(ConfigError, match=r"ttl\.session is .*; it is a number of seconds"):
            RedisSessionManager(ttl_seconds=seconds, state_dir=tmp_path)
    with pytest.raises(ConfigError, match="the store URL starts with 'mysql'"):
        RedisSessionManager(url="mysql://host", state_dir=tmp_path)


def test_nothing_is_opened_yet(tmp_path: Path) -> None:
    """Making a manager touches neither disk nor network."""
    RedisSessionManager(state_dir=tmp_path / "state")
    RedisSessionManager(url="redis://nowhere", state_dir=tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
