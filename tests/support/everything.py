"""All that we ask of a Redis, whatever it consists of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.errors import FlywheelError
from agentic_flywheel.manager import share
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.owned import acting_as
from agentic_flywheel.stores.redis_store import RedisStore
from agentic_flywheel.stores.redis_sweep import Sweeper
from agentic_flywheel.stores.redis_watch import LARGE

ANNA, BEN = principal_of(None, "anna"), principal_of(None, "ben")


class Pusher(Protocol):
    """A client of the server's owner."""

    def lpush(self, name: str, *values: Any) -> Any:
        """Make a list."""


async def fails_on(url: str, admin: Pusher) -> list[str]:
    """What cannot be done on the Redis of a URL, of all that we do; the sessions of others are not looked at."""
    store = RedisStore(url)
    wrong: list[str] = []

    async def do(what: str, work: Awaitable[Any], good: Callable[[Any], object] = lambda answer: True) -> None:
        try:
            if not good(await work):
                wrong.append(what)
        except FlywheelError:
            wrong.append(what)

    await _do_everything(store, do, admin)
    large = UniversalSession(backend="custom", id="large", context={"large": "x" * LARGE})
    await do("write a large one", SessionManager(store).save_session(large), bool)
    await _do_as_users(SessionManager(store), store.sweeper, do)
    await store.close()
    return wrong


async def _do_everything(store: RedisStore, do: Callable[..., Awaitable[None]], admin: Pusher) -> None:
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


async def _do_as_users(sessions: SessionManager, sweeper: Sweeper, do: Callable[..., Awaitable[None]]) -> None:
    session = UniversalSession(backend="custom", id="s")
    with acting_as(ANNA):
        await do("create one's own", sessions.save_session(session), bool)
        await do("sweep", sweeper.sample(ANNA), lambda gone: gone == 0)
        await do("count one's own", sessions.store.count(ANNA, 1), lambda count: count == 1)
        await do("share", share(sessions, "s", BEN, allowed=True))
    with acting_as(BEN):
        await do("read what is shared", sessions.load("s"), lambda loaded: loaded.session == session)
    await do("erase", sessions.store.erase(ANNA), lambda count: count > 1)
