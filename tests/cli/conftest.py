"""Sessions for commands to work on."""

from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import Settings
from agentic_flywheel.wiring import open_manager
from tests.support.servers import Kind


@pytest.fixture(scope="session", params=["redis-server"])
def kv_kind(request: pytest.FixtureRequest) -> Kind:
    """One kind of server: it is the stores that speak to it, and their tests run on both."""
    return cast(Kind, request.param)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the commands of this test keep their sessions; they run in an empty folder."""
    monkeypatch.setenv("FLYWHEEL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def manager() -> SessionManager:
    """The sessions that the commands see."""
    return open_manager(Settings.load())


def conversation(id: str, turns: int = 3) -> UniversalSession:
    """A session with some turns, and a context."""
    session = UniversalSession(backend="custom", id=id, context={"topic": f"about {id}"})
    for number in range(turns):
        session.record(question=f"question {number}", response=f"answer {number}", flow_id="echo", duration_ms=5)
    return session


async def store(manager: SessionManager, *sessions: UniversalSession) -> None:
    """Save sessions, and close the files again: the commands run in processes of their own."""
    async with manager:
        for session in sessions:
            assert await manager.save_session(session)


def plant(url: str, session_id: str, document: bytes) -> None:
    """Write a session's key in Redis as somebody else might."""
    with Redis.from_url(url) as client:
        client.set(f"agentic_flywheel:session:{session_id}", document)
