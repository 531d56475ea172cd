"""The ACL line of docs/operators.md: it suffices for all that we do, and no right of it is idle."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.errors import FlywheelError
from agentic_flywheel.stores.redis_store import RedisStore
from tests.docs.examples import ROOT
from tests.support.servers import Server

PREFIX = "ACL SETUSER "
PASSWORD = "a-long-random-password"


def documented_line() -> list[str]:
    """The words of the line behind the user's name."""
    lines = (ROOT / "docs/operators.md").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(PREFIX))
    user, *words = line.removeprefix(PREFIX).split()
    assert user == "flywheel"
    return words


WORDS = documented_line()
COMMANDS = [word for word in WORDS if word.startswith("+")]


@pytest.fixture(scope="module")
def admin(kv_server: Server) -> Iterator[Redis]:
    """The server's owner, in the database that the tests of this module use."""
    with closing(Redis.from_url(f"{kv_server.url}/1022")) as client:
        yield client
        client.acl_deluser("flywheel")
        client.flushdb()


async def wrong_with(words: list[str], admin: Redis, server: Server) -> list[str]:
    """What a user with these rights cannot do of all that we do."""
    admin.flushdb()
    admin.script_flush()
    admin.acl_deluser("flywheel")
    admin.execute_command("ACL", "SETUSER", "flywheel", *words)  # type: ignore[no-untyped-call]  # redis-py's own
    place = server.url.removeprefix("redis://")
    store = RedisStore(f"redis://flywheel:{PASSWORD}@{place}/1022")
    wrong: list[str] = []

    async def do(what: str, work: Awaitable[Any], good: Callable[[Any], object] = lambda answer: True) -> None:
        try:
            if not good(await work):
                wrong.append(what)
        except FlywheelError:
            wrong.append(what)

    await _do_everything(store, do, admin)
    await store.close()
    return wrong


async def _do_everything(store: RedisStore, do: Callable[..., Awaitable[None]], admin: Redis) -> None:
    sessions = SessionManager(store)
    session = UniversalSession(backend="custom", id="s")
    session.record(question="q", response="a", flow_id="f")
    await do("create", sessions.save_session(session), bool)
    session.record(question="q", response="a", flow_id="f")
    await do("append", sessions.save_session(session), bool)
    session.context["large"] = "x" * 5000
    session.ttl_seconds = 0
    await do("pin, and outgrow the head", sessions.save_session(session), bool)
    await do("load", sessions.load("s"), lambda loaded: loaded.session == session)
    await do("load the tail", sessions.load("s", last=1), lambda loaded: loaded.session)
    await do("list", sessions.list_sessions(), lambda found: len(found) == 1)
    await do("load an execution", sessions.load_execution(str(session.history[0].id)), bool)
    await do("load a history", sessions.load_history("s", "f"), lambda found: len(found) == 2)
    await do("claim", store.claim("s", "t", b"{}", seconds=3))
    await do("see a claim", store.claimed("s"), bool)
    await do("release", store.release("s", "t"))
    await do("see none", store.claimed("s"), lambda claim: claim is None)
    await do("health", sessions.health(), lambda health: health.state == "ok" and "save" in health.facts)
    await do("show --raw", store.raw("s"), bool)
    admin.lpush("agentic_flywheel:session:odd", "x")
    await do("show --raw of another type", store.raw("odd"), bool)
    await do("set another type aside", sessions.save_session(UniversalSession(backend="custom", id="odd")), bool)
    await do("reindex", store.reindex(), lambda count: count == 2)
    await do("delete", sessions.delete_session("s"), bool)


async def test_it_suffices(admin: Redis, kv_server: Server) -> None:
    """A user with these rights can do all that we do, on each kind of server."""
    assert await wrong_with(WORDS, admin, kv_server) == []


@pytest.mark.parametrize("idle", COMMANDS)
async def test_none_is_idle(idle: str, admin: Redis, kv_server: Server) -> None:
    """Without any one of them, something that we do fails."""
    assert await wrong_with([word for word in WORDS if word != idle], admin, kv_server)
