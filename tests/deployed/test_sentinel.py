"""Sentinel: connections go to the primary, and to nobody who was one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.errors import Misconfigured, ReadOnly, Unavailable
from agentic_flywheel.stores.redis_store import RedisStore
from tests.docs.acl import PASSWORD, on_a_sentinel, on_a_server
from tests.support.everything import fails_on
from tests.support.replicated import SERVICE, Sentinel, Sentinels, ask, sentinels, wait_until
from tests.support.servers import HOST, Server, TlsFiles, free_port

USER = f"flywheel:{PASSWORD}@"


@pytest.fixture
def whole(redis_sentinels: Sentinels) -> Sentinels:
    """The servers and sentinels of all tests, with none of them missing."""
    wait_until(redis_sentinels.is_whole)
    return redis_sentinels


@pytest.fixture(scope="module")
def secure_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """A primary and a sentinel that speak TLS and know the users of the docs."""
    with sentinels(replicas=0, count=1, tls=TlsFiles.issue(tmp_path_factory.mktemp("tls"))) as made:
        ask(made.primary(), "ACL", "SETUSER", "flywheel", *on_a_server())
        ask(made.sentinels[0], "ACL", "SETUSER", "watcher", *on_a_sentinel())
        ask(made.sentinels[0], "ACL", "SETUSER", "default", "resetpass", ">of-the-owner")
        yield made


class Owner:
    """Does on the primary what its owner may."""

    def __init__(self, servers: Sentinels) -> None:
        self._primary = servers.servers[0]

    def lpush(self, name: str, *values: str) -> None:
        """Make a list."""
        ask(self._primary, "LPUSH", name, *values)


async def refusal(url: str, kind: type[Unavailable]) -> str:
    """Why nothing can be read."""
    store = RedisStore(url)
    with pytest.raises(kind) as caught:
        await store.read("s")
    await store.close()
    return str(caught.value)


async def test_with_tls_and_few_rights(secure_sentinels: Sentinels) -> None:
    """The lines of the docs suffice for all that we do, on the servers and on the sentinels."""
    url = f"{secure_sentinels.url(USER)}&sentinel_username=watcher&sentinel_password={PASSWORD}"
    assert await fails_on(url, Owner(secure_sentinels)) == []


async def test_sentinels_that_want_a_password(secure_sentinels: Sentinels) -> None:
    """The message names the options."""
    assert "sentinel_password" in await refusal(secure_sentinels.url(USER), Misconfigured)
    await asyncio.sleep(0.05)  # the library does not wait for the end of a TLS connection that it gives up


async def test_a_sentinel_that_names_a_replica(whole: Sentinels) -> None:
    """A replica is not taken for the primary, whatever a sentinel says."""
    replica = next(server for server in whole.servers if server is not whole.primary())
    with Sentinel(replica, name="mistaken") as mistaken:  # under the same name, the others would correct it
        url = f"redis+sentinel://{HOST}:{mistaken.port}/mistaken"
        assert "is a replica" in await refusal(url, Unavailable)


async def test_what_a_replica_lacks(whole: Sentinels) -> None:
    """Of a replica that is asked by its own address, what is there can be read; the rest may not have arrived."""
    session = UniversalSession(backend="custom")
    primary = RedisStore(whole.url())
    await SessionManager(primary).save_session(session)
    await primary.close()
    await asyncio.to_thread(wait_until, whole.is_whole)
    replica = RedisStore(next(server for server in whole.servers if server is not whole.primary()).url)
    assert (await SessionManager(replica).load(session.id)).session == session
    for read in (replica.read("s"), replica.read("s", last=1), replica.execution("e"), replica.entries("s", "f")):
        with pytest.raises(ReadOnly, match="replica"):
            await read
    await replica.close()


async def test_a_sentinel_that_hangs(whole: Sentinels) -> None:
    """Another one is asked, in a moment."""
    whole.sentinels[0].pause()
    try:
        store = RedisStore(whole.url())
        assert await store.read("unknown") is None
        await store.close()
    finally:
        whole.sentinels[0].resume()


async def test_a_name_that_no_sentinel_knows(whole: Sentinels) -> None:
    """Nothing is said of what is stored there."""
    assert "no sentinel that answers knows" in await refusal(whole.url().replace(SERVICE, "another"), Unavailable)


async def test_no_sentinel_answers(redis_server: Server) -> None:
    """Sentinels that are away, or are none, are a store that is away."""
    assert "no sentinel that answers" in await refusal(f"redis+sentinel://{HOST}:{free_port()}/a", Unavailable)
    assert "unknown command" in await refusal(f"redis+sentinel://{HOST}:{redis_server.port}/a", Misconfigured)


async def test_a_switch_of_the_primary(whole: Sentinels) -> None:
    """A store whose primary is made a replica goes to the new one by itself, and loses nothing."""
    session = UniversalSession(backend="custom")
    before = whole.primary()
    async with SessionManager(RedisStore(whole.url())) as sessions, asyncio.timeout(30):
        ask(whole.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
        while whole.primary() is before:
            session.record(question="q", response="a", flow_id="f")
            await sessions.save_session(session)
        session.record(question="q", response="a", flow_id="f")
        while (await sessions.save_session(session)).outcome != "stored":  # noqa: ASYNC110  # as callers try again
            await asyncio.sleep(0.05)
        assert (await sessions.load(session.id)).session == session
