"""What the README promises of durability, row by row, on real files, servers and processes."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.integrations import RedisSessionManager
from tests.docs.examples import PATIENT
from tests.support.servers import Server

# Saves a turn, says what the save said, and is killed before it could close anything.
SAVE_AND_DIE = """
import asyncio, os, signal, sys
from agentic_flywheel import UniversalSession
from agentic_flywheel.integrations import RedisSessionManager

async def main():
    sessions = RedisSessionManager(state_dir=sys.argv[1], url=sys.argv[2] or None)
    session = await sessions.load_session("s") or UniversalSession(backend="custom", id="s")
    session.record(question=sys.argv[3], response="…", flow_id="f")
    print((await sessions.save_session(session)).outcome, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with other tests, a healthy Redis is waited for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flywheel.toml").write_text(PATIENT, "utf-8")


def save_and_die(folder: Path, url: str, question: str) -> str:
    """What the save of a process said that was killed right after it."""
    command = [sys.executable, "-c", SAVE_AND_DIE, str(folder), url, question]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


async def asked(sessions: SessionManager) -> list[str]:
    """The questions that are stored."""
    return [turn.question for turn in (await sessions.require("s")).history]


async def saw_everything_replayed(sessions: SessionManager) -> None:
    """Return once nothing waits in the journal any more."""
    async with asyncio.timeout(30):
        while (await sessions.health()).state != "ok":  # noqa: ASYNC110  # health is what people look at, too
            await asyncio.sleep(0.01)


async def test_our_process_is_killed_on_sqlite(tmp_path: Path) -> None:
    """What a save called stored is there after the process was killed."""
    assert save_and_die(tmp_path, "", "one") == "stored"
    assert save_and_die(tmp_path, "", "two") == "stored"
    async with RedisSessionManager(state_dir=tmp_path) as sessions:
        assert await asked(sessions) == ["one", "two"]


async def test_our_process_is_killed_on_redis(tmp_path: Path, kv_url: str) -> None:
    """The same on Redis."""
    assert save_and_die(tmp_path, kv_url, "one") == "stored"
    async with RedisSessionManager(url=kv_url, state_dir=tmp_path) as sessions:
        assert await asked(sessions) == ["one"]


async def test_redis_is_killed_and_started_again(tmp_path: Path, own_server: Server) -> None:
    """With an append-only file and ``appendfsync always``, what was stored is there."""
    assert save_and_die(tmp_path, own_server.url, "one") == "stored"
    own_server.kill()
    own_server.start()
    async with RedisSessionManager(url=own_server.url, state_dir=tmp_path) as sessions:
        assert await asked(sessions) == ["one"]


async def test_redis_is_away_and_our_process_is_killed(tmp_path: Path, own_server: Server) -> None:
    """What a save called journalled is on local disk; the next process gives it to Redis."""
    assert save_and_die(tmp_path, own_server.url, "one") == "stored"
    own_server.kill()
    assert save_and_die(tmp_path, own_server.url, "two") == "journalled"
    own_server.start()
    async with RedisSessionManager(url=own_server.url, state_dir=tmp_path) as sessions:
        await sessions.load("s")  # whatever is done first starts the replay
        await saw_everything_replayed(sessions)
    async with RedisSessionManager(url=own_server.url, state_dir=tmp_path / "elsewhere") as other:
        assert await asked(other) == ["one", "two"]


async def test_redis_comes_back_empty(tmp_path: Path, own_server: Server) -> None:
    """A process that holds the session puts back what it holds with its next save."""
    async with RedisSessionManager(url=own_server.url, state_dir=tmp_path) as sessions:
        session = UniversalSession(backend="custom", id="s")
        for question in ("one", "two"):
            session.record(question=question, response="…", flow_id="f")
            assert await sessions.save_session(session)
        with Redis.from_url(own_server.url) as owner:
            owner.flushall()
        session.record(question="three", response="…", flow_id="f")
        assert (await sessions.save_session(session)).outcome == "stored"
        assert await asked(sessions) == ["one", "two", "three"]


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_two_writers_at_once(tmp_path: Path, store: str, request: pytest.FixtureRequest) -> None:
    """Of two writers who save one session again and again, every turn is there once, each writer's in order."""
    url = request.getfixturevalue("redis_server").url + "/1023" if store == "redis" else None
    managers = [RedisSessionManager(url=url, state_dir=tmp_path) for _ in range(2)]
    assert await managers[0].save_session(UniversalSession(backend="custom", id="s"))

    async def write(sessions: SessionManager, who: str) -> None:
        session = await sessions.require("s")
        for number in range(20):
            session.record(question=f"{who} {number}", response="…", flow_id="f")
            assert await sessions.save_session(session)

    await asyncio.gather(write(managers[0], "a"), write(managers[1], "b"))
    stored = await asked(managers[0])
    for who in "ab":
        assert [question for question in stored if question[0] == who] == [f"{who} {n}" for n in range(20)]
    for sessions in managers:
        await sessions.close()
