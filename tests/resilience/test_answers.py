"""What a Redis in trouble answers: nothing is lost, and the health says what to do about it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentic_flywheel import SessionManager
from tests.conftest import start_or_report
from tests.resilience.outage import Outage, asked_in, conversation, outage_on, save, until, until_replayed
from tests.support.servers import HOST, Server, free_port

PATIENCE = 30.0
TIMES = 8  # more than the breaker needs to open


async def execute(outage: Outage, *words: object) -> None:
    run: Callable[..., Awaitable[object]] = outage.raw.execute_command
    await run(*words)


async def no_trouble(outage: Outage) -> None:
    """Nothing to end."""


async def become_replica(outage: Outage) -> None:
    await outage.raw.replicaof(HOST, free_port())


async def become_primary(outage: Outage) -> None:
    await outage.raw.replicaof("NO", "ONE")


async def take_memory(outage: Outage) -> None:
    await outage.raw.config_set("maxmemory", 1)


async def give_memory(outage: Outage) -> None:
    await outage.raw.config_set("maxmemory", 0)


async def want_replicas(outage: Outage) -> None:
    await outage.raw.config_set("min-replicas-to-write", 1)


async def want_no_replicas(outage: Outage) -> None:
    await outage.raw.config_set("min-replicas-to-write", 0)


async def break_snapshots(outage: Outage) -> None:
    """Put a folder where the snapshot is written to, and let it fail."""
    await outage.raw.config_set("save", "3600 1")
    (outage.server.data / "dump.rdb").mkdir()
    await outage.raw.bgsave()

    async def failed() -> bool:
        return (await outage.raw.info("persistence"))["rdb_last_bgsave_status"] == "err"  # type: ignore[no-any-return]  # a str

    await until(failed)


async def mend_snapshots(outage: Outage) -> None:
    await outage.raw.config_set("save", "")
    shutil.rmtree(outage.server.data / "dump.rdb")
    await outage.raw.config_set("stop-writes-on-bgsave-error", "no")


async def pause_writes(outage: Outage) -> None:
    await execute(outage, "CLIENT", "PAUSE", 60_000, "WRITE")


async def resume_writes(outage: Outage) -> None:
    await execute(outage, "CLIENT", "UNPAUSE")


async def lock(outage: Outage) -> None:
    """Want a password that our URL does not have, of every connection."""
    await outage.raw.config_set("requirepass", "secret")
    outage.proxy.reset()


async def unlock(outage: Outage) -> None:
    await outage.raw.config_set("requirepass", "")


async def take_rights(outage: Outage) -> None:
    await execute(outage, "ACL", "SETUSER", "default", "-evalsha", "-set")


async def give_rights(outage: Outage) -> None:
    await execute(outage, "ACL", "SETUSER", "default", "+@all")


async def allow_no_clients(outage: Outage) -> None:
    await outage.raw.config_set("maxclients", 1)
    outage.proxy.reset()


async def allow_clients(outage: Outage) -> None:
    await outage.raw.config_set("maxclients", 100)


@dataclass(frozen=True)
class Trouble:
    """How a server gets into it and out of it, the state that the health then has, and words of its message."""

    begin: Callable[[Outage], Awaitable[None]]
    end: Callable[[Outage], Awaitable[None]]
    state: str
    words: tuple[str, ...]


TROUBLES = {
    "READONLY": Trouble(become_replica, become_primary, "unavailable", ("read-only replica", "primary")),
    "OOM": Trouble(take_memory, give_memory, "unavailable", ("out of memory", "raise its maxmemory")),
    "NOREPLICAS": Trouble(want_replicas, want_no_replicas, "unavailable", ("too few replicas", "min-replicas")),
    "MISCONF": Trouble(break_snapshots, mend_snapshots, "unavailable", ("disk", "look at its log")),
    "paused": Trouble(pause_writes, resume_writes, "unavailable", ("no answer came in time",)),
    "NOAUTH": Trouble(lock, unlock, "misconfigured", ("password", "URL")),
    "NOPERM": Trouble(take_rights, give_rights, "misconfigured", ("lacks a right", "ACL")),
    "maxclients": Trouble(allow_no_clients, allow_clients, "unavailable", ("max number of clients",)),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_refused_writes_are_journalled(
    outage: Outage, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that refuses is told by the health, with what to do; what is saved meanwhile gets there."""
    manager = outage.open()
    session = conversation(id="s")
    await save(manager, session, 0)
    await trouble.begin(outage)
    caplog.clear()
    for number in range(1, TIMES):
        assert (await save(manager, session, number)).outcome == "journalled"
    health = await manager.health()
    assert health.state == trouble.state
    assert health.pending == TIMES - 1
    for word in trouble.words:
        assert word in (health.error or "")
    assert await asked_in(manager, "s") == list(range(TIMES))
    states = [record.getMessage() for record in caplog.records if "state=" in record.getMessage()]
    assert len(states) <= 1, "one line for one change of state"
    await trouble.end(outage)
    await until_replayed(manager)
    assert await asked_in(outage, "s") == list(range(TIMES))
    assert (await save(manager, session, TIMES)).outcome == "stored"


@pytest.mark.parametrize("trouble", ["READONLY", "OOM", "NOREPLICAS", "MISCONF"])
async def test_what_takes_no_writes_is_read(outage: Outage, trouble: str) -> None:
    """A server that takes no writes is read all the same, also sessions that this machine never touched."""
    writer = outage.open()
    for number in range(3):
        await save(writer, conversation(number, id=f"s{number}"))
    await TROUBLES[trouble].begin(outage)
    outage.folder = outage.folder / "elsewhere"
    reader = outage.open()
    for _ in range(3):
        for number in range(3):
            loaded = await reader.load(f"s{number}")
            assert (loaded.state, loaded.behind) == ("found", False)
        await save(reader, conversation(1, id="new"), 2)
    await TROUBLES[trouble].end(outage)


async def test_loading(outage: Outage) -> None:  # noqa: PLR0915  # one story
    """A server that is still loading its data is unavailable, says that it will answer soon, and then does."""
    manager = outage.open()
    session = conversation(id="s")
    await save(manager, session, 0)
    async with outage.raw.pipeline(transaction=False) as pipeline:
        for number in range(2000):
            pipeline.set(f"filler:{number}", "x" * 1000)
        await pipeline.execute()
    await outage.raw.config_set("save", "")
    await outage.raw.bgrewriteaof()

    async def rewritten() -> bool:
        return not (await outage.raw.info("persistence"))["aof_rewrite_in_progress"]

    await until(rewritten)
    outage.server.kill()
    slow = Server(
        outage.server._binary,
        "--appendonly",
        "yes",
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
    )
    slow.port, slow.data = outage.server.port, outage.server.data
    starting = asyncio.create_task(asyncio.to_thread(slow.start))
    try:

        async def says_so() -> bool:
            assert (await manager.save_session(session)).outcome == "journalled"
            return "loading its data; it will answer soon" in ((await manager.health()).error or "")

        await until(says_so)
        assert (await manager.health()).state == "unavailable"
        await starting
        await until_replayed(manager)
        assert await asked_in(manager, "s") == [0]
    finally:
        await asyncio.wait((starting,))
        slow.kill()


async def test_forgotten_scripts(outage: Outage) -> None:
    """A server that forgot the scripts is given them again; nobody notices."""
    manager = outage.open()
    session = conversation(id="s")
    for number in range(5):
        assert (await save(manager, session, number)).outcome == "stored"
        await outage.raw.script_flush()
    assert await asked_in(outage, "s") == list(range(5))


@pytest.mark.parametrize("answers", [1, 2, 10])
async def test_garbage(outage: Outage, answers: int) -> None:
    """A server that answers garbage is one that is away: nothing raises, and all that is saved gets there once."""
    manager = outage.open()
    session = conversation(id="s")
    await save(manager, session, 0)
    outage.proxy.garble_answer(times=answers)
    for number in range(1, 15):
        await save(manager, session, number)
        await manager.load("s")
        await manager.health()
    await outage.proxy.pass_through()
    await until_replayed(manager)
    assert await asked_in(outage, "s") == list(range(15))


def in_a_cluster(bus: int) -> tuple[str, ...]:
    """The arguments of a node; the port of its bus, 10,000 higher than its own if not named, may be in use."""
    return "--cluster-enabled", "yes", "--databases", "1", "--cluster-port", str(bus)


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Outage]:
    """One node of a cluster that holds half of the slots."""
    with start_or_report(
        "redis-server", *in_a_cluster(free_port()), "--cluster-require-full-coverage", "no"
    ) as server:
        async with outage_on(server, tmp_path / "state") as made:
            await execute(made, "CLUSTER", "ADDSLOTSRANGE", 0, 1)
            yield made


async def test_a_node_of_a_cluster(member: Outage) -> None:
    """A node of a cluster, which sends us elsewhere, is misconfigured or down, and told so; nothing is lost."""
    manager = member.open()
    session = conversation(id="s")
    for number in range(TIMES):
        assert (await save(manager, session, number)).outcome == "journalled"
    health = await manager.health()
    assert "cluster" in (health.error or "")
    assert await asked_in(manager, "s") == list(range(TIMES))


async def test_moved(member: Outage, tmp_path: Path) -> None:
    """A node that names another one for our key is misconfigured, and the message says what to do."""
    bus = free_port()
    with start_or_report("redis-server", *in_a_cluster(bus)) as second:
        await execute(member, "CLUSTER", "MEET", HOST, second.port, bus)
        async with outage_on(second, tmp_path / "second") as other:
            await execute(other, "CLUSTER", "ADDSLOTSRANGE", 2, 16383)

            async def knows() -> bool:
                info = await member.raw.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]  # redis-py
                return b"cluster_state:ok" in info and b"cluster_known_nodes:2" in info

            await until(knows)
            manager = member.open()
            session = conversation(id="s")
            for number in range(TIMES):
                assert (await save(manager, session, number)).outcome == "journalled"
            health = await manager.health()
            assert health.state == "misconfigured"
            assert "part of a cluster" in (health.error or "")


async def test_a_wrong_password(outage: Outage, tmp_path: Path) -> None:
    """A wrong password is misconfigured from the first call on, is never shown, and costs nothing that is saved."""
    with start_or_report("redis-server", "--requirepass", "right") as locked:
        async with outage_on(locked, tmp_path / "locked") as machine:
            machine.proxy.port, wrong = machine.proxy.port, "wr0ng"
            settings = machine.settings()
            from msgspec.structs import replace

            from agentic_flywheel.wiring import open_manager

            url = machine.proxy.url.replace("redis://", f"redis://:{wrong}@")
            manager = open_manager(replace(settings, store=replace(settings.store, url=url)))
            session = conversation(id="s")
            for number in range(TIMES):
                assert (await save(manager, session, number)).outcome == "journalled"
                health = await manager.health()
                assert (health.state, "password" in (health.error or "")) == ("misconfigured", True)
                assert wrong not in str(health)
            await locked_off(locked)
            await until_replayed(manager)
            assert (await save(manager, session, TIMES)).outcome == "stored"
            await manager.close()


async def locked_off(server: Server) -> None:
    """Make the wrong password the right one."""
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(server.url.replace("redis://", "redis://:right@"))
    await client.config_set("requirepass", "wr0ng")
    await client.aclose()


async def test_managers_say_what_they_did(outage: Outage) -> None:
    """Outcomes are counted, and the latencies of saves and loads are measured."""
    manager: SessionManager = outage.open()
    session = conversation(id="s")
    await save(manager, session, 1)
    outage.server.kill()
    await save(manager, session, 2)
    await manager.load("s")
    await manager.load("nobody")
    health = await manager.health()
    assert health.counts == {"stored": 1, "journalled": 1, "found": 1, "unavailable": 1}
    assert {name: set(figures) for name, figures in health.latencies_ms.items()} == {
        "save": {"p50", "p99"},
        "load": {"p50", "p99"},
    }
