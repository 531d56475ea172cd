"""`flywheel journal`: what waits can be looked at, replayed and taken away."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_flywheel import SessionManager
from agentic_flywheel.config import Settings
from agentic_flywheel.wiring import open_manager
from tests.conftest import start_or_report
from tests.support.servers import Server

from .command import fails, flywheel
from .conftest import conversation


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A Redis that the commands use, and that the test may kill."""
    with start_or_report("redis-server", "--appendonly", "yes") as started:
        monkeypatch.setenv("FLYWHEEL_REDIS_URL", started.url)
        yield started


async def journalled(*names: str) -> None:
    """Save sessions; Redis is away, so they wait."""
    async with open_manager(Settings.load()) as manager:
        for name in names:
            assert (await manager.save_session(conversation(name))).outcome == "journalled"


async def test_an_empty_journal(server: Server) -> None:
    """Where nothing waits every command says so, and makes no file."""
    assert "nothing waits" in flywheel("journal", "list").text
    assert flywheel("journal", "list", "--json").json == []
    assert flywheel("journal", "replay", "--json").json == {
        "replayed": 0,
        "waiting": 0,
        "refused": 0,
        "reason": None,
    }
    assert flywheel("journal", "export").raw == b""


def test_without_a_journal() -> None:
    """Where sessions are kept on this machine anyway there is no journal, and the commands say so."""
    assert "there is no journal" in fails(2, "journal", "list")


async def test_what_waits(server: Server, tmp_path: Path) -> None:
    """What waits is listed oldest first and exported with its turns, and stays."""
    server.kill()
    await journalled("one", "two")
    listed = flywheel("journal", "list", "--json").json
    assert [(entry["session_id"], entry["kind"], entry["refused"]) for entry in listed] == [
        ("one", "change", None),
        ("two", "change", None),
    ]
    assert all(entry["bytes"] > 100 and entry["accepted_at"].endswith("Z") for entry in listed)
    table = flywheel("journal", "list").text.splitlines()
    assert [line.split()[1] for line in table[1:]] == ["one", "two"]
    exported = [json.loads(line) for line in flywheel("journal", "export").raw.splitlines()]
    assert [turn["question"] for turn in exported[0]["turns"]] == ["question 0", "question 1", "question 2"]
    assert exported[1]["head"]["context"] == {"topic": "about two"}
    assert "wrote 2 entries" in flywheel("journal", "export", "-o", str(tmp_path / "out.jsonl")).errors
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert len(flywheel("journal", "list", "--json", "--limit", "1").json) == 1
    assert len(flywheel("journal", "list", "--json").json) == 2


async def test_replaying(server: Server) -> None:
    """While Redis is away replaying says why it cannot; when it is back, everything gets there."""
    server.kill()
    await journalled("one", "two")
    away = flywheel("journal", "replay")
    assert (away.code, "still waiting: 2" in away.text) == (1, True)
    assert "cannot be reached" in away.errors
    server.restart()
    assert flywheel("journal", "replay", "--json").json["waiting"] == 0
    assert flywheel("journal", "list", "--json").json == []
    assert {line["id"] for line in flywheel("sessions", "list", "--json").json} == {"one", "two"}


async def test_what_was_refused(server: Server) -> None:
    """What Redis would not take is listed with the reason, and tried again when that is asked for."""
    newer = b'{"schema":2,"backend":"x","id":"one","history":[]}'
    server.kill()
    await journalled("one")
    server.restart()
    from redis import Redis

    with Redis.from_url(server.url) as client:
        client.set("agentic_flywheel:session:one", newer)
        assert flywheel("journal", "replay", "--json").json == {
            "replayed": 1,
            "waiting": 0,
            "refused": 1,
            "reason": None,
        }
        (refused,) = flywheel("journal", "list", "--json").json
        assert "schema 2" in refused["refused"]
        client.delete("agentic_flywheel:session:one")
    assert flywheel("journal", "replay", "--refused", "--json").json["refused"] == 0
    async with open_manager(Settings.load()) as manager:
        assert isinstance(manager, SessionManager)
        assert len((await manager.require("one")).history) == 3


async def test_the_doctor_tells_what_waits(server: Server) -> None:
    """While Redis is away, the doctor names the journal's entries next to the problem."""
    server.kill()
    await journalled("one", "two")
    findings = {finding["about"]: finding for finding in flywheel("doctor", "--json").json["findings"]}
    assert findings["store"]["level"] == "problem"
    assert findings["journal"]["says"].startswith("2 entries wait (")
    assert "flywheel journal replay" in findings["journal"]["advice"]
