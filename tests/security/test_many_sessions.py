"""One user cannot fill the store: 10,000 sessions are his, by default, and no more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import redis.asyncio
from mcp.types import TextContent

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import JournalSettings, Limits, Settings, StoreSettings
from agentic_flywheel.config.http import TABLE
from agentic_flywheel.mcp_server.tokens import new_token
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.owned import NOBODY, acting_as
from agentic_flywheel.wiring import open_manager
from tests.support.http_server import HttpServer, client_of, result_of
from tests.support.servers import Server

MOST = 10_000
AT_ONCE = 500
SAYS = "you have 10,000 sessions, and there may be no more: end those that are not needed"
ANNA, BEN = principal_of(TABLE, "anna"), principal_of(TABLE, "ben")
BUDGET_MS = 20_000  # the machine is busy: what is not answered in time would be stored later


async def fill(sessions: SessionManager) -> list[UniversalSession]:
    """As many sessions of Anna's as one may have, many at once."""
    made = [UniversalSession(backend="custom", current_flow_id="echo") for _ in range(MOST)]
    with acting_as(ANNA):
        for first in range(0, MOST, AT_ONCE):
            batch = made[first : first + AT_ONCE]
            saved = await asyncio.gather(*map(sessions.save_session, batch))
            assert {each.outcome for each in saved} == {"stored"}
    return made


def settings_on(url: str, folder: Path) -> Settings:
    store = StoreSettings(url=url, prefix=folder.name)
    return Settings(store=store, state_dir=str(folder / "state"), journal=JournalSettings(budget_ms=BUDGET_MS))


async def test_ten_thousand_sessions_of_one_user(kv_url: str, tmp_path: Path) -> None:
    """The next one is refused in words; those that are there go on, others are not concerned, an end makes room."""
    assert Limits().sessions == MOST
    async with open_manager(settings_on(kv_url, tmp_path)) as sessions:
        made = await fill(sessions)
        for _ in range(2):
            with acting_as(ANNA):
                refused = await sessions.save_session(UniversalSession(backend="custom"))
                assert refused.outcome == "refused"
                assert SAYS in str(refused.reason)
                made[0].record(question="does it", response="go on")
                assert (await sessions.save_session(made[0])).outcome == "stored"
                assert len((await sessions.require(made[0].id)).history) == len(made[0].history)
            for other in (BEN, NOBODY):
                with acting_as(other):
                    assert (await sessions.save_session(UniversalSession(backend="custom"))).outcome == "stored"
            with acting_as(ANNA):
                assert await sessions.delete_session(made.pop().id)
                assert (await sessions.save_session(UniversalSession(backend="custom"))).outcome == "stored"
        assert await sessions.store.count(ANNA, MOST) == MOST


async def test_those_that_expired_make_room(kv_url: str, tmp_path: Path) -> None:
    """Also where nobody ended or listed them."""
    async with open_manager(settings_on(kv_url, tmp_path)) as sessions:
        with acting_as(ANNA):
            await fill(sessions)
            assert (await sessions.save_session(UniversalSession(backend="custom"))).outcome == "refused"
        async with open_manager(settings_on(kv_url, tmp_path)) as other:
            with acting_as(ANNA):
                gone = [summary.id for summary in await other.list_sessions(3)]
            await expire(kv_url, *(f"{tmp_path.name}:session:{ANNA}:{session_id}" for session_id in gone))
            with acting_as(ANNA):
                for outcome in ("stored", "stored", "stored", "refused"):
                    saved = await other.save_session(UniversalSession(backend="custom"))
                    assert saved.outcome == outcome


async def expire(url: str, *keys: str) -> None:
    """Let keys expire in Redis now."""
    async with redis.asyncio.Redis.from_url(url) as client:
        for key in keys:
            assert await client.pexpire(key, 0)


async def test_the_tools_say_so(redis_server: Server, tmp_path: Path) -> None:
    """Over MCP: each tool that would begin a session, until one is deleted; what is there can be worked with."""
    tokens = {name: new_token(name) for name in ("anna", "ben")}
    (tmp_path / "tokens").write_text("\n".join(line for _, line in tokens.values()))
    (tmp_path / "flywheel.toml").write_text(
        f'default_flow = "echo"\n[journal]\nbudget_ms = {BUDGET_MS}\n[http.auth]\n'
        f'tokens_file = "{tmp_path / "tokens"}"\n[flows.echo]\ntarget = "tests.mcp_server.flows:echo"\n'
    )
    environ = {
        "FLYWHEEL_CONFIG": str(tmp_path / "flywheel.toml"),
        "FLYWHEEL_STATE_DIR": str(tmp_path / "state"),
        "FLYWHEEL_REDIS_URL": redis_server.url,
        "FLYWHEEL_PREFIX": tmp_path.name,
    }
    async with open_manager(settings_on(redis_server.url, tmp_path)) as sessions:
        made = await fill(sessions)
    with HttpServer(tmp_path, environ) as server:
        async with (
            client_of(server.url, "auto", tokens["anna"][0]) as anna,
            client_of(server.url, "auto", tokens["ben"][0]) as ben,
        ):
            handle = {"session_id": made[0].id}
            begins = {"create_session": {}, "fork_session": handle, "run_flow": {"question": "a new one?"}}
            for tool, arguments in begins.items():
                result = await anna.call_tool(tool, arguments)
                said = "".join(part.text for part in result.content if isinstance(part, TextContent))
                assert (result.is_error, SAYS in said) == (True, True), said
            assert (await result_of(anna, "run_flow", question="on?", **handle))["response"] == "you said on?"
            assert (await result_of(ben, "create_session"))["session_id"]
            await result_of(anna, "delete_session", **handle)
            assert (await result_of(anna, "create_session"))["session_id"]
            assert (await anna.call_tool("create_session", {})).is_error
