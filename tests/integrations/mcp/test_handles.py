"""What a client sees of sessions: handles, how long they are kept, and errors that say how to go on."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from redis import Redis

from agentic_flywheel.errors import ConfigError
from agentic_flywheel.integrations.mcp import DurableSessions
from tests.integrations.mcp.carts import add_tools
from tests.integrations.mcp.conftest import server_with, visiting

UNKNOWN = (
    "no session {!r}: it has expired or never was. Call create_session to begin a new one, or "
    "list_sessions to see those that there are."
)


async def test_a_handle_is_opaque_and_cannot_be_guessed(url: str, mode: str) -> None:
    """128 random bits or more, another one each time; what is kept, for how long and where is told with it."""
    sessions = DurableSessions(url)
    async with visiting(server_with(sessions), sessions, mode) as shop:
        begun = [await shop.call("create_session") for _ in range(20)]
        handles = {each["session_id"] for each in begun}
        assert len(handles) == 20
        assert all(re.fullmatch(r"session_[0-9a-f]{32,}", handle) for handle in handles)
        assert begun[0]["kept_seconds"] == 604800
        assert begun[0]["where"] == sessions.manager.store.where


@pytest.mark.parametrize(
    ("ttl", "said"),
    [
        (None, "kept for 7 days after its last use, unless ttl_seconds says otherwise"),
        (5400, "kept for 90 minutes after its last use"),
        (0, "kept until it is deleted"),
    ],
)
async def test_the_creating_tool_says_how_long_a_session_is_kept(
    sqlite_url: str, ttl: int | None, said: str
) -> None:
    """In its description, which is what a model reads before it relies on it."""
    sessions = DurableSessions(sqlite_url, ttl_seconds=ttl)
    async with visiting(server_with(sessions), sessions) as shop:
        tools = {tool.name: tool for tool in (await shop.client.list_tools()).tools}
        assert said in (tools["create_session"].description or "")


async def test_creation_takes_parameters(url: str) -> None:
    """A title for listings, and a time to live for this session."""
    sessions = DurableSessions(url)
    async with visiting(server_with(sessions), sessions) as shop:
        begun = await shop.call("create_session", title="a birthday", ttl_seconds=60)
        assert begun["kept_seconds"] == 60
        session = await sessions.manager.require(begun["session_id"])
        assert (session.metadata["title"], session.ttl_seconds) == ("a birthday", 60)
        assert (await shop.call("resume_session", session_id=session.id))["title"] == "a birthday"


async def test_sessions_are_listed_and_ended(url: str, mode: str) -> None:
    """The one used last first; an ended one is gone, from the listing too."""
    sessions = DurableSessions(url)
    async with visiting(server_with(sessions), sessions, mode) as shop:
        first, second = await shop.begin(title="first"), await shop.begin(title="second")
        listed = (await shop.call("list_sessions"))["sessions"]
        assert [(each["session_id"], each["title"]) for each in listed] == [(second, "second"), (first, "first")]
        assert await shop.call("end_session", session_id=second) == {"session_id": second, "ended": True}
        assert [each["session_id"] for each in (await shop.call("list_sessions"))["sessions"]] == [first]
        assert UNKNOWN.format(second) in await shop.refused("end_session", session_id=second)


@pytest.mark.parametrize("tool", ["look", "say", "resume_session", "end_session"])
@pytest.mark.parametrize("record", [False, True])
async def test_an_unknown_handle_is_answered_with_how_to_recover(sqlite_url: str, tool: str, record: bool) -> None:
    """By the handle tools, by tools with state and by tools that only have a session_id; none of these is run."""
    sessions = DurableSessions(sqlite_url, record=record)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        arguments = {"words": "hello"} if tool == "say" else {}
        for _ in range(2):
            text = await shop.refused(tool, session_id="session_of_nobody", **arguments)
            assert text.removeprefix(f"Error executing tool {tool}: ") == UNKNOWN.format("session_of_nobody")
        assert (await sessions.manager.load("session_of_nobody")).state == "absent"


async def test_an_expired_handle_is_an_unknown_one(redis_url: str) -> None:
    """Expired as Redis does it; the next call says how to go on."""
    sessions = DurableSessions(redis_url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin(ttl_seconds=1)
        await shop.call("add", session_id=session_id, item="tea")
        with closing(Redis.from_url(redis_url)) as client:
            (key,) = client.scan_iter(f"*:session:{session_id}")
            client.pexpire(key, 1)
            while client.exists(key):
                pass
        assert await shop.refused("add", session_id=session_id, item="cup") == UNKNOWN.format(session_id)


@pytest.mark.parametrize("handle", ["", "x" * 257, "two\nlines", "nul\0"])
async def test_a_malformed_handle_is_refused(sqlite_url: str, handle: str) -> None:
    """With what is wrong with it, and where a right one comes from."""
    sessions = DurableSessions(sqlite_url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        text = await shop.refused("look", session_id=handle)
        assert text.startswith("a session id ")
        assert text.endswith("Pass a session_id exactly as create_session or list_sessions gave it.")


@pytest.mark.parametrize("handle", ["*", "{a}", "a:b", "../../etc", "%2A", "'; --", "🫖"])
async def test_an_odd_handle_is_nobody_s(url: str, handle: str) -> None:
    """What means something to a store or a shell means nothing here."""
    sessions = DurableSessions(url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        await shop.begin()
        assert await shop.refused("look", session_id=handle) == UNKNOWN.format(handle)


async def test_a_handle_of_another_type_is_for_the_tool_s_schema(sqlite_url: str) -> None:
    """A number is no handle; the SDK says so."""
    sessions = DurableSessions(sqlite_url)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        assert "session_id" in await shop.refused("look", session_id=3)


async def test_tools_can_be_renamed(sqlite_url: str) -> None:
    """The names are used throughout: in the listing, and in what errors advise."""
    names = {"create_session": "open_cart"}
    sessions = DurableSessions(sqlite_url, prefix="shop_", names=names)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        tools = [tool.name for tool in (await shop.client.list_tools()).tools]
        assert tools[:4] == ["shop_open_cart", "shop_resume_session", "shop_list_sessions", "shop_end_session"]
        session_id = (await shop.call("shop_open_cart"))["session_id"]
        assert await shop.call("add", session_id=session_id, item="tea") == ["tea"]
        text = await shop.refused("look", session_id="x")
        assert "Call shop_open_cart to begin a new one, or shop_list_sessions" in text


def test_only_tools_that_there_are_can_be_renamed(sqlite_url: str) -> None:
    """A misspelt name is told, with the right ones."""
    with pytest.raises(
        ConfigError, match="no tool 'begin' to be renamed; there are create_session, resume_session"
    ):
        DurableSessions(sqlite_url, names={"begin": "x"})


async def test_a_tool_without_session_id_is_left_alone(sqlite_url: str) -> None:
    """It has nothing to do with sessions, and nothing is recorded of it."""
    sessions = DurableSessions(sqlite_url, record=True)
    add_tools(server := server_with(sessions))
    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        assert await shop.call("without_session", words="hello") == "hello"
        assert (await shop.call("resume_session", session_id=session_id))["turns"] == 0
