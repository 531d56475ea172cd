"""Sessions as resources, and the prompt that goes on with one."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from mcp import MCPError
from mcp.types import TextContent, TextResourceContents

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.mcp_server.client import Connection
from agentic_flywheel.stores.sqlite_store import SqliteStore


@pytest.fixture
def sessions(tmp_path: Path) -> SessionManager:
    """The sessions of the server, from outside of it."""
    return SessionManager(SqliteStore(tmp_path / "state" / "sessions.db"))


async def document(server: Connection, session_id: str) -> dict[str, object]:
    read = await server.client.read_resource(f"flywheel://session/{quote(session_id, safe='')}")
    (content,) = read.contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    loaded: dict[str, object] = json.loads(content.text)
    return loaded


async def continuation(server: Connection, **arguments: str) -> str:
    (message,) = (await server.client.get_prompt("continue", arguments)).messages
    assert isinstance(message.content, TextContent)
    return message.content.text


async def test_a_session_is_a_resource(server: Connection) -> None:
    begun = await server.call("run_flow", question="remember a: 1")
    found = await document(server, begun["session_id"])
    templates = (await server.client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == ["flywheel://session/{session_id}"]
    assert (found["id"], found["context"]) == (begun["session_id"], {"a": "1"})
    assert found["shown"] == {"turns": 1, "first": 1, "note": "all 1 turns"}


async def test_of_a_long_session_the_newest_turns_are_shown(server: Connection, sessions: SessionManager) -> None:
    """Not the whole of it; and the document says so."""
    session = UniversalSession(backend="custom")
    for number in range(120):
        session.record(question=f"q{number}", response="r", flow_id="f")
    async with sessions:
        assert await sessions.save_session(session)
    found = await document(server, session.id)
    history = found["history"]
    assert isinstance(history, list)
    assert [turn["question"] for turn in history] == [f"q{number}" for number in range(70, 120)]
    assert found["shown"] == {"turns": 120, "first": 71, "note": "the newest 50 of 120 turns"}


async def test_any_session_id_can_be_read(server: Connection, sessions: SessionManager) -> None:
    for session_id in ("a/b", "../x", "a b", "ü:*", "/etc", "50%"):
        async with sessions:
            assert await sessions.save_session(UniversalSession(backend="custom", id=session_id))
        assert (await document(server, session_id))["id"] == session_id


async def test_half_an_emoji_of_somebody_else_can_be_sent(server: Connection, sessions: SessionManager) -> None:
    """JSON can hold it and UTF-8 cannot; the client gets a replacement character, not a crash."""
    session = UniversalSession(backend="custom", context={"mood": "\ud83d"})
    session.record(question="cut \ud83d", response="r", flow_id="f")
    async with sessions:
        assert await sessions.save_session(session)
    view = await server.call("resume_session", session_id=session.id)
    assert view["context"] == {"mood": "\ufffd"}
    assert view["last_turns"][0]["question"] == "cut \ufffd"
    assert (await document(server, session.id))["context"] == {"mood": "\ufffd"}
    assert "cut \ufffd" in await continuation(server, session_id=session.id)


async def test_turns_of_another_shape_are_shown_as_they_are(server: Connection, sessions: SessionManager) -> None:
    session = UniversalSession(backend="custom")
    session.history.append({"role": "user", "content": "hello there"})
    async with sessions:
        assert await sessions.save_session(session)
    view = await server.call("resume_session", session_id=session.id)
    assert view["last_turns"] == [{"role": "user", "content": "hello there"}]
    assert "hello there" in await continuation(server, session_id=session.id)


async def test_the_prompt_holds_what_it_takes_to_go_on(server: Connection) -> None:
    """The context and the last turns; without a handle, of the session used last."""
    begun = await server.call("run_flow", question="remember rehearsal: Thursday")
    await server.call("record_turn", session_id=begun["session_id"], question="Until when?", response="Nine.")
    named = await continuation(server, session_id=begun["session_id"])
    assert named == await continuation(server)
    for expected in (begun["session_id"], "rehearsal: Thursday", "Until when?", "Nine.", "2 turns"):
        assert expected in named


async def test_an_unknown_session_is_a_protocol_error_that_says_what_to_do(server: Connection) -> None:
    with pytest.raises(MCPError, match="list_sessions"):
        await document(server, "session_unknown")
    with pytest.raises(MCPError, match="list_sessions"):
        await continuation(server, session_id="session_unknown")
    with pytest.raises(MCPError, match="no session yet"):
        await continuation(server)
