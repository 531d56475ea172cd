"""A Redis Cluster: commands find their servers, also while slots move, and replicas are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from redis.crc import key_slot

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.errors import Misconfigured, Unavailable
from agentic_flywheel.stores.redis_store import RedisStore
from agentic_flywheel.stores.redis_watch import LARGE
from tests.docs.acl import PASSWORD, in_a_cluster, on_a_server
from tests.support.everything import fails_on
from tests.support.replicated import Cluster, ask, cluster, wait_until
from tests.support.servers import HOST, Server, TlsFiles, free_port

CROWD = 200
USER = f"flywheel:{PASSWORD}@"
WORDS = on_a_server() + in_a_cluster()


@pytest.fixture
async def store(redis_cluster: Cluster) -> AsyncIterator[RedisStore]:
    """A store under a prefix of its own, on the cluster of all tests."""
    await asyncio.to_thread(wait_until, redis_cluster.is_whole)
    made = RedisStore(redis_cluster.url(), prefix=f"test-{uuid4().hex}")
    yield made
    await made.close()


@pytest.fixture(scope="module")
def secure_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three primaries that speak TLS, of this module alone."""
    with cluster(replicas=0, tls=TlsFiles.issue(tmp_path_factory.mktemp("tls"))) as made:
        yield made


class Owner:
    """Does on each server of a cluster what its owner may."""

    def __init__(self, servers: Cluster) -> None:
        self._cluster = servers

    def allow(self, words: list[str]) -> None:
        """An empty cluster, and a user with these rights."""
        for server in self._cluster.servers:
            ask(server, "FLUSHALL")
            ask(server, "ACL", "DELUSER", "flywheel")
            ask(server, "ACL", "SETUSER", "flywheel", *words)

    def lpush(self, name: str, *values: str) -> None:
        """Make a list."""
        ask(self._cluster.primary_of(name), "LPUSH", name, *values)


def conversation(number: int) -> UniversalSession:
    session = UniversalSession(backend="custom", id=f"session-{number}")
    session.record(question="q", response="a", flow_id="f")
    return session


async def test_a_crowd_is_stored_at_once(store: RedisStore, redis_cluster: Cluster) -> None:
    """Saves of 200 sessions at the same moment are stored, on all primaries, and listed."""
    sessions = SessionManager(store)
    crowd = [conversation(number) for number in range(CROWD)]
    for _ in range(2):
        saved = await asyncio.gather(*(sessions.save_session(session) for session in crowd))
        assert {save.outcome for save in saved} == {"stored"}
        for session in crowd:
            session.record(question="q", response="a", flow_id="f")
    assert len(await sessions.list_sessions(CROWD + 1)) == CROWD
    prefix = store._keys.prefix
    holders = {redis_cluster.primary_of(f"{prefix}:session:{session.id}").port for session in crowd}
    assert len(holders) == 3
    assert (await store.check())["primaries"] == 3


async def test_replicas_are_never_asked(store: RedisStore, redis_cluster: Cluster) -> None:
    """What a replica lacks may just not have arrived there yet."""
    sessions = SessionManager(store)
    await sessions.save_session(conversation(1))
    assert (await sessions.load("session-1")).session
    assert (await sessions.load("unknown")).session is None
    replicas = [s for s in redis_cluster.servers if b"role:slave" in ask(s, "INFO", "replication")]
    assert len(replicas) == 3
    for replica in replicas:
        assert b"cmdstat_getrange" not in ask(replica, "INFO", "commandstats")


async def test_one_store_in_several_event_loops(redis_cluster: Cluster) -> None:
    """Each begins with connections of its own."""
    store = RedisStore(redis_cluster.url())

    async def look() -> None:
        assert (await store.check())["primaries"] == 3
        await store.close()

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, look())


async def test_with_tls_and_few_rights(secure_cluster: Cluster) -> None:
    """The lines of the docs suffice for all that we do, and the map of the slots needs its right."""
    owner = Owner(secure_cluster)
    owner.allow(WORDS)
    assert await fails_on(secure_cluster.url(USER), owner) == []
    owner.allow([word for word in WORDS if word != "+cluster|slots"])
    assert await fails_on(secure_cluster.url(USER), owner)


async def test_a_slot_that_moves(secure_cluster: Cluster) -> None:
    """Commands follow a key that is moved to another server, during the move and after it."""
    Owner(secure_cluster).allow(WORDS)
    session = conversation(1)
    move = Move(secure_cluster, "agentic_flywheel:session:session-1")
    async with SessionManager(RedisStore(secure_cluster.url(USER))) as sessions:
        await _goes_on(sessions, session)
        move.begin()
        await _goes_on(sessions, session)
        for server in secure_cluster.servers:
            ask(server, "ACL", "SETUSER", "flywheel", "-asking")
        assert (await sessions.load(session.id)).state == "unavailable"
        move.end()
        await _goes_on(sessions, session)


class Move:
    """The move of a key's slot from its server to another one; the key itself is there at once."""

    def __init__(self, servers: Cluster, key: str) -> None:
        self._key, self._slot = key, str(key_slot(key.encode()))
        self._servers = servers.servers
        self._source = servers.primary_of(key)
        self._target = next(server for server in self._servers if server is not self._source)

    def begin(self) -> None:
        """Give the key away, and not yet the slot."""
        ask(self._target, "CLUSTER", "SETSLOT", self._slot, "IMPORTING", _name(self._source))
        ask(self._source, "CLUSTER", "SETSLOT", self._slot, "MIGRATING", _name(self._target))
        ask(self._source, "MIGRATE", HOST, str(self._target.port), self._key, "0", "5000")

    def end(self) -> None:
        """Give the slot away, too."""
        for server in (self._target, *self._servers):
            ask(server, "CLUSTER", "SETSLOT", self._slot, "NODE", _name(self._target))


def _name(server: Server) -> str:
    name: bytes = ask(server, "CLUSTER", "MYID")
    return name.decode()


async def _goes_on(sessions: SessionManager, session: UniversalSession) -> None:
    """By a small turn and by a large one."""
    for response in ("a", "a" * LARGE):
        session.record(question="q", response=response, flow_id="f")
        assert (await sessions.save_session(session)).outcome == "stored"
        assert (await sessions.load(session.id)).session == session


async def test_no_cluster(redis_server: Server) -> None:
    """A server that is no cluster is told from one that is away."""
    store = RedisStore(f"redis+cluster://{HOST}:{redis_server.port}")
    with pytest.raises(Misconfigured, match="is no cluster"):
        await store.read("s")
    await store.close()


async def test_nobody_answers() -> None:
    """Where none of the servers can be reached, nothing is said of what is stored there."""
    store = RedisStore(f"redis+cluster://{HOST}:{free_port()},{HOST}:{free_port()}")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await store.read("s")
    await store.close()


async def test_a_wrong_password(redis_cluster: Cluster) -> None:
    """It is told as for a single server."""
    store = RedisStore(redis_cluster.url("flywheel:wrong@"))
    with pytest.raises(Misconfigured, match="user or password"):
        await store.read("s")
    await store.close()
