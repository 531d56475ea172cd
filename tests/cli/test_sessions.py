"""`flywheel sessions`: each command, for people and for programs."""

import asyncio
import json
from pathlib import Path

import pytest

from agentic_flywheel import Execution, History, SessionManager, UniversalSession
from agentic_flywheel.config import Settings
from agentic_flywheel.flywheel.packet import estimate_tokens
from agentic_flywheel.stores.redis_store import RedisStore
from agentic_flywheel.wiring import open_manager
from tests.support.proxy import Proxy
from tests.support.servers import Server

from .command import fails, flywheel
from .conftest import conversation, plant, store


async def test_sessions_are_listed_newest_first(manager: SessionManager) -> None:
    assert "no sessions yet" in flywheel("sessions", "list").text
    assert flywheel("sessions", "list", "--json").json == []
    await store(manager, conversation("older"), conversation("newer", turns=5))
    listed = flywheel("sessions", "list", "--json").json
    assert [(line["id"], line["turns"], line["title"]) for line in listed] == [
        ("newer", 5, "about newer"),
        ("older", 3, "about older"),
    ]
    assert [line["id"] for line in flywheel("sessions", "list", "--json", "--limit", "1").json] == ["newer"]
    table = flywheel("sessions", "list").text.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["newer", "5"], ["older", "3"]]


async def test_what_is_listed_is_never_cut(manager: SessionManager) -> None:
    """An id is there to be copied, however long it is."""
    await store(manager, conversation("x" * 256))
    assert "x" * 256 in flywheel("sessions", "list").text


async def test_a_listing_of_this_machine_alone_is_called_so(
    monkeypatch: pytest.MonkeyPatch, own_server: Server
) -> None:
    """While Redis is away there may be sessions that nobody here knows of: none known is not none there."""
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", own_server.url)
    own_server.kill()
    assert "Redis cannot be reached" in fails(1, "sessions", "list")
    await store(open_manager(Settings.load()), conversation("begun_meanwhile"))
    listed = flywheel("sessions", "list")
    assert "begun_meanwhile" in listed.text
    assert "Only what this machine knows" in listed.errors
    own_server.restart()
    assert flywheel("sessions", "list").errors == ""


async def test_a_command_waits_for_a_slow_redis(monkeypatch: pytest.MonkeyPatch, own_server: Server) -> None:
    """Longer than a server's callers may; the doctor does not, and says what these would see."""
    async with Proxy(own_server.port) as proxy:
        monkeypatch.setenv("FLYWHEEL_REDIS_URL", f"redis://127.0.0.1:{proxy.port}")
        await store(open_manager(Settings.load()), conversation("talk"))
        proxy.delay(0.15)
        shown = await asyncio.to_thread(flywheel, "sessions", "show", "talk")
        assert "answer 2" in shown.text, shown.errors
        doctor = await asyncio.to_thread(flywheel, "doctor")
        assert (doctor.code, "no answer came in time" in doctor.text) == (1, True), doctor.text


async def test_a_session_is_shown_with_its_newest_turns(manager: SessionManager) -> None:
    await store(manager, conversation("talk", turns=30))
    text = flywheel("sessions", "show", "talk").text
    assert "30 turns, the newest 10 of them" in text
    assert "topic: about talk" in text
    assert "answer 29" in text
    assert "answer 19" not in text
    shown = flywheel("sessions", "show", "talk", "--json", "--last", "2").json
    assert [turn["question"] for turn in shown["history"]] == ["question 28", "question 29"]
    assert shown["shown"] == {"turns": 30, "first": 29}


async def test_what_it_takes_to_go_on_is_printed(manager: SessionManager) -> None:
    """As text for any model; without an id, of the session that was used last."""
    await store(manager, conversation("older"), conversation("talk", turns=60))
    text = flywheel("sessions", "resume", "talk").text
    assert text == flywheel("sessions", "resume").text
    assert estimate_tokens(text) <= 2000
    for expected in ("session_id: talk", "topic: about talk", "question: question 59", "question 40 -> answer 40"):
        assert expected in text
    assert "session_id: older" in flywheel("sessions", "resume", "older").text


async def test_what_it_takes_to_go_on_fits_into_the_tokens(manager: SessionManager) -> None:
    """As JSON too; too few are refused with a number that would do."""
    await store(manager, conversation("talk", turns=60))
    for tokens in (700, 1000, 4000):
        printed = flywheel("sessions", "resume", "talk", "--json", "--last", "3", "--tokens", str(tokens))
        packet = printed.json
        assert estimate_tokens(printed.text.strip()) <= tokens
        assert [turn["question"] for turn in packet["last_turns"]] == [f"question {n}" for n in (57, 58, 59)]
        assert len(packet["earlier_turns"]) + packet["left_out"]["turns"] == 57
    assert "flywheel sessions export" in flywheel("sessions", "resume", "talk", "--tokens", "500").text
    assert "takes" in fails(2, "sessions", "resume", "talk", "--tokens", "20")


async def test_what_somebody_stored_does_nothing_to_the_terminal(manager: SessionManager) -> None:
    """No control sequences, no markup, and no crash over half an emoji."""
    session = conversation("rude")
    session.record(question="\x1b[2J[bold]hi[/bold]", response="\ud83d", flow_id="echo")
    session.history.append({"role": "user", "content": "[/] other"})
    await store(manager, session)
    ended = flywheel("sessions", "show", "rude")
    assert ended.code == 0
    assert "\x1b" not in ended.text
    assert "[bold]hi[/bold]" in ended.text
    assert "[/] other" in ended.text


async def test_deleting_asks_first(manager: SessionManager) -> None:
    """Where there is nobody to ask, it wants to be told."""
    await store(manager, conversation("a"), conversation("b"))
    assert "--yes" in fails(2, "sessions", "delete", "a")
    assert "deleted: 2" in flywheel("sessions", "delete", "--yes", "a", "b").text
    assert flywheel("sessions", "list", "--json").json == []
    assert "'a'" in fails(1, "sessions", "delete", "--yes", "a")


async def test_an_exported_session_can_be_imported_elsewhere(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await store(manager, conversation("talk"))
    assert flywheel("sessions", "export", "talk", "-o", "talk.json").code == 0
    document = json.loads((tmp_path / "talk.json").read_text())
    assert json.loads(flywheel("sessions", "export", "talk").raw) == document
    monkeypatch.setenv("FLYWHEEL_STATE_DIR", str(tmp_path / "elsewhere"))
    done = flywheel("sessions", "import", "talk.json", "--json").json
    assert done == {"session_id": "talk", "created": True, "turns_added": 3}
    assert json.loads(flywheel("sessions", "export", "talk").raw) == document


async def test_importing_into_a_session_that_is_there_merges(manager: SessionManager) -> None:
    """What both know comes from the side used last; turns are known by their ids; nothing is lost."""
    session = conversation("talk")
    await store(manager, session)
    exported = flywheel("sessions", "export", "talk").raw
    session.record(question="later", response="on", flow_id="echo")
    session.context |= {"topic": "a newer one", "more": 1}
    await store(manager, session)
    text = flywheel("sessions", "import", "-", input=exported).text
    assert "merged" in text
    assert "0 turns added" in text
    document = json.loads(exported)
    document["history"].append({"id": "turn_x", "question": "elsewhere", "response": "r", "flow_id": "echo"})
    document["context"]["other"] = True
    assert "1 turns added" in flywheel("sessions", "import", "-", input=json.dumps(document).encode()).text
    merged = UniversalSession.from_json(flywheel("sessions", "export", "talk").raw)
    assert [turn.question for turn in merged.history[3:]] == ["later", "elsewhere"]
    assert merged.context == {"topic": "a newer one", "more": 1, "other": True}


async def test_an_import_brings_nothing_back_that_was_deleted(manager: SessionManager) -> None:
    """Not under its old id; as a new session it can be had again."""
    await store(manager, conversation("talk"))
    exported = flywheel("sessions", "export", "talk").raw
    assert flywheel("sessions", "delete", "--yes", "talk").code == 0
    message = fails(1, "sessions", "import", "-", input=exported)
    assert "was deleted" in message
    assert "--new-id" in message
    done = flywheel("sessions", "import", "-", "--new-id", "--json", input=exported).json
    assert done["session_id"] != "talk"
    shown = flywheel("sessions", "show", done["session_id"], "--json").json
    assert (len(shown["history"]), shown["metadata"]["forked_from"]) == (3, "talk")


async def test_an_import_leaves_fuller_executions_as_they_are(manager: SessionManager) -> None:
    """A turn tells less of its execution than what was stored when it ran."""
    session = conversation("talk", turns=1)
    (turn,) = session.history
    execution = Execution(id=turn["id"], session_id="talk", flow_id="echo", output={"all": "of it"})
    async with manager:
        assert await manager.save_session(session, executions=[execution])
    exported = flywheel("sessions", "export", "talk").raw
    async with manager:
        stored = await manager.require("talk")
        stored.history = History()
        assert await manager.save_session(stored)
    assert flywheel("sessions", "show", "talk", "--json").json["history"] == []
    assert flywheel("sessions", "import", "-", "--json", input=exported).json["turns_added"] == 1
    async with manager:
        assert await manager.load_execution(turn["id"]) == execution


async def test_copying_twice_makes_no_doubles(manager: SessionManager, kv_url: str) -> None:
    sessions = [conversation("a"), conversation("b", turns=50)]
    await store(manager, *sessions)
    first = flywheel("sessions", "copy", "--to", kv_url, "--json").json
    second = flywheel("sessions", "copy", "--to", kv_url, "--json").json
    assert first == second == {"sessions": 2, "executions": 53, "histories": 2, "skipped": {}}
    target = SessionManager(RedisStore(kv_url, prefix="agentic_flywheel"))
    async with target:
        for session in sessions:
            assert await target.load_session(session.id) == session
            assert len(await target.load_history(session.id, "echo")) == len(session.history)
    assert "copied 2 sessions" in flywheel("sessions", "copy", "--to", kv_url).text


async def test_copying_back_adds_what_was_said_there(manager: SessionManager, kv_url: str, state: Path) -> None:
    session = conversation("a")
    await store(manager, session)
    assert flywheel("sessions", "copy", "--to", kv_url).code == 0
    async with SessionManager(RedisStore(kv_url, prefix="agentic_flywheel")) as there:
        continued = await there.require("a")
        continued.record(question="on Redis", response="yes", flow_id="echo")
        assert await there.save_session(continued)
    home = f"sqlite://{state / 'sessions.db'}"
    assert flywheel("sessions", "copy", "--from", kv_url, "--to", home).code == 0
    shown = flywheel("sessions", "show", "a", "--json").json
    assert [turn["question"] for turn in shown["history"]][2:] == ["question 2", "on Redis"]


def test_a_copy_says_what_is_wrong_with_its_ends(tmp_path: Path, kv_url: str) -> None:
    missing = f"sqlite://{tmp_path / 'missing.db'}"
    assert "missing.db" in fails(2, "sessions", "copy", "--from", missing, "--to", kv_url)
    assert not (tmp_path / "missing.db").exists()
    assert "same store" in fails(2, "sessions", "copy", "--from", kv_url, "--to", kv_url)
    assert "memory" in fails(2, "sessions", "copy", "--from", kv_url, "--to", "memory://")
    assert "ftp" in fails(2, "sessions", "copy", "--from", kv_url, "--to", "ftp://x")
    assert "--to" in fails(2, "sessions", "copy")


@pytest.mark.parametrize("bytes_", [b"not json", b'{"id":"x","backend":"c","history":[{"a":', b"\xff\x00"])
def test_a_damaged_session_is_called_so_and_its_bytes_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, kv_url: str, bytes_: bytes
) -> None:
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", kv_url)
    plant(kv_url, "x", bytes_)
    message = fails(1, "sessions", "show", "x")
    assert "damaged" in message
    assert message.count("--raw") == 1
    assert flywheel("sessions", "show", "x", "--raw").raw == bytes_
    assert "damaged" in fails(1, "sessions", "export", "x")
    assert "damaged" in fails(1, "sessions", "import", "-", input=b'{"id":"x","backend":"c"}')
    assert flywheel("sessions", "show", "x", "--raw").raw == bytes_


async def test_what_was_moved_aside_can_be_seen(monkeypatch: pytest.MonkeyPatch, kv_url: str) -> None:
    """A damaged document that a save moved out of its way is still printed, byte by byte."""
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", kv_url)
    plant(kv_url, "x", b"not json")
    assert "nothing" in fails(1, "sessions", "show", "x", "--aside")
    await store(open_manager(Settings.load()), conversation("x"))
    assert flywheel("sessions", "show", "x", "--aside").raw == b"not json"
    assert "question 2" in flywheel("sessions", "show", "x").text


def test_a_newer_session_is_called_so(monkeypatch: pytest.MonkeyPatch, kv_url: str) -> None:
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", kv_url)
    newer = b'{"schema":99,"id":"x","backend":"c","novelty":true}'
    plant(kv_url, "x", newer)
    assert "schema 99" in fails(1, "sessions", "show", "x")
    assert flywheel("sessions", "show", "x", "--raw").raw == newer


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "not a session document"),
        (b"nonsense", "not a session document"),
        (b"[]", "not a session document"),
        (b'{"id":"x"}', "backend"),
        (b'{"id":"a\\nb","backend":"c"}', "control character"),
        (b'{"id":"x","backend":"c","history":7}', "history"),
        (b'{"id":"x","backend":"c","context":[]}', "context"),
    ],
)
def test_what_is_no_session_is_not_imported(document: bytes, says: str) -> None:
    assert says in fails(2, "sessions", "import", "-", input=document)
    assert flywheel("sessions", "list", "--json").json == []


def test_a_newer_document_is_not_imported() -> None:
    assert "schema 99" in fails(1, "sessions", "import", "-", input=b'{"schema":99,"id":"x","backend":"c"}')


def test_what_is_not_there_is_said_in_a_line() -> None:
    assert "no session yet" in fails(1, "sessions", "resume")
    for command in (["show", "x"], ["show", "x", "--raw"], ["export", "x"], ["resume", "x"]):
        assert "no session 'x'" in fails(1, "sessions", *command)
    assert "nowhere.json" in fails(2, "sessions", "import", "nowhere.json")


def test_bad_arguments_are_said_in_a_line() -> None:
    assert "ID" in fails(2, "sessions", "show")
    assert "--last" in fails(2, "sessions", "show", "x", "--last", "-1")
    assert "--tokens" in fails(2, "sessions", "resume", "x", "--tokens", "0")
    assert "bogus" in fails(2, "sessions", "bogus")
    assert "control character" in fails(2, "sessions", "show", "a\nb")
    assert "10,000 characters" in fails(2, "sessions", "show", "--raw", "x" * 10_000)
