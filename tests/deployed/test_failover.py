"""The primary is killed under load: callers notice nothing, and what a replica had is not lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.stores.redis_store import RedisStore
from tests.deployed.conversations import held, manager_on
from tests.support.replicated import Cluster, Sentinels, wait_until
from tests.support.servers import Server

LATEST = 3.0  # seconds after the SIGKILL until writes go on
ANY = "agentic_flywheel:session:any"
BUSY = 3.0  # seconds more on a machine that is busy with other tests


@dataclass
class Deployment:
    """Servers of which one is to be killed."""

    url: str
    primary: Callable[[], Server]
    is_whole: Callable[[], bool]

    async def heir(self, doomed: Server) -> float:
        """When another server has taken over, as the servers say."""
        await asyncio.to_thread(wait_until, lambda: self.primary() is not doomed)
        return time.monotonic()


@pytest.fixture(params=["cluster", "sentinel"])
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Each way in which a primary can have an heir; all its servers run at the end."""
    made: Deployment
    if request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("redis_cluster")
        made = Deployment(cluster.url(), lambda: cluster.primary_of(ANY), cluster.is_whole)
        servers = cluster.servers
    else:
        sentinels: Sentinels = request.getfixturevalue("redis_sentinels")
        made = Deployment(sentinels.url(), sentinels.primary, sentinels.is_whole)
        servers = sentinels.servers
    yield made
    for server in servers:
        if not server.is_running:
            server.start()


@pytest.fixture
async def fresh(deployment: Deployment) -> AsyncIterator[SessionManager]:
    """Another machine, which knows nothing but what is in Redis."""
    async with SessionManager(RedisStore(deployment.url)) as manager:
        yield manager


@pytest.fixture
async def manager(deployment: Deployment, tmp_path: Path) -> AsyncIterator[SessionManager]:
    """A machine with a journal."""
    async with manager_on(deployment.url, tmp_path) as made:
        yield made


async def test_a_killed_primary(deployment: Deployment, manager: SessionManager, fresh: SessionManager) -> None:
    """No save raises or is refused, the replica's turns are there, and so is all that was accepted meanwhile."""
    quiet = [await _saved(fresh, number) for number in range(50)]
    await asyncio.to_thread(wait_until, deployment.is_whole)  # what was acknowledged has reached the replicas
    async with held(manager) as conversations:
        doomed = deployment.primary()
        doomed.kill()
        killed = time.monotonic()
        taken_over = await deployment.heir(doomed)
        await conversations.went_on()
    gap = conversations.longest_gap(killed)
    print(
        f"{deployment.url.partition(':')[0]}: {conversations.turns} turns; another server took over after "
        f"{taken_over - killed:.2f} s, and each session was stored there after {gap:.2f} s"
    )

    assert conversations.outcomes <= {"stored", "journalled"}
    assert gap <= LATEST + BUSY
    assert all([(await fresh.load(session.id)).session == session for session in quiet])
    for session in conversations.sessions:
        found = (await fresh.require(session.id)).history
        assert [turn.question for turn in found] == [turn.question for turn in session.history]


async def _saved(manager: SessionManager, number: int) -> UniversalSession:
    session = UniversalSession(backend="custom", context={"number": number})
    session.record(question="question", response="response", flow_id="flow", duration_ms=1)
    assert (await manager.save_session(session)).outcome == "stored"
    return session
