"""Redis as it is deployed, on loopback: a cluster, and a primary with replicas and sentinels.

with cluster() as servers:
    RedisStore(servers.url())
    servers.primary_of(key).kill()

Both are real processes of `redis-server`; what is missing to start them is a `ServerMissingError`.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.support.servers import (
    HOST,
    Server,
    ServerMissingError,
    TlsFiles,
    die_with_parent,
    find,
    free_port,
    start,
)

READY_SECONDS = 30.0
DOWN_AFTER_MS = 1000
SERVICE = "flywheel-primary"


class Cluster:
    """Primaries that share the slots, and perhaps a replica of each."""

    def __init__(self, servers: Sequence[Server], primaries: int, tls: TlsFiles | None) -> None:
        self.servers = servers
        self._primaries = primaries
        self._tls = tls

    def url(self, user: str = "") -> str:
        """Where a client finds it, as this user (``NAME:PASSWORD@``): two of the servers will do."""
        return _url("cluster", user, [self.servers[0], self.servers[-1]], "", self._tls)

    def primary_of(self, key: str) -> Server:
        """The server that has a key, as one that lives says."""
        slot = key_slot(key.encode())
        sections = _any_answer(self.servers, "CLUSTER", "SLOTS")
        port = next(section[2][1] for section in sections if section[0] <= slot <= section[1])
        return next(server for server in self.servers if server.port == port)

    def is_whole(self) -> bool:
        """Whether all servers are there, each slot has a primary, and each replica is up to date."""
        states = [ask(server, "CLUSTER", "INFO") for server in self.servers]
        nodes = [line.split() for line in ask(self.servers[0], "CLUSTER", "NODES").splitlines()]
        agreed = all(b"cluster_state:ok" in state for state in states)
        return agreed and all(b"fail" not in node[2] for node in nodes) and _in_step(self.servers, self._primaries)


class Sentinels:
    """A primary with replicas, and sentinels that watch over them."""

    def __init__(self, servers: Sequence[Server], sentinels: Sequence[Server], tls: TlsFiles | None) -> None:
        self.servers = servers
        self.sentinels = sentinels
        self._tls = tls

    def url(self, user: str = "") -> str:
        """Where a client finds it, as this user (``NAME:PASSWORD@``)."""
        return _url("sentinel", user, self.sentinels, f"/{SERVICE}", self._tls)

    def primary(self) -> Server:
        """The primary, as a sentinel says."""
        _, port = _any_answer(self.sentinels, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def is_whole(self) -> bool:
        """Whether the sentinels know of each other, and of replicas that are up to date."""
        wanted = f"status=ok,address={HOST}:{self.primary().port},slaves={len(self.servers) - 1},"
        wanted += f"sentinels={len(self.sentinels)}"
        facts = [ask(sentinel, "INFO", "sentinel").decode() for sentinel in self.sentinels]
        return all(wanted in each for each in facts) and _in_step(self.servers, 1)


@contextmanager
def cluster(primaries: int = 3, replicas: int = 1, tls: TlsFiles | None = None) -> Iterator[Cluster]:
    """A cluster for a `with` statement, with so many replicas of each primary. Raises `ServerMissingError`."""
    command = [_redis_cli(), *_cli_options(tls), "--cluster", "create"]
    with ExitStack() as stack:
        servers = [stack.enter_context(_member(tls)) for _ in range(primaries * (1 + replicas))]
        hosts = [f"{HOST}:{server.port}" for server in servers]
        command += [*hosts, "--cluster-replicas", str(replicas), "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=READY_SECONDS)
        made = Cluster(servers, primaries, tls)
        wait_until(made.is_whole)
        yield made


@contextmanager
def sentinels(replicas: int = 2, count: int = 3, tls: TlsFiles | None = None) -> Iterator[Sentinels]:
    """A primary, its replicas and so many sentinels, for a `with` statement. Raises `ServerMissingError`."""
    with ExitStack() as stack:
        primary = stack.enter_context(_server(tls))
        follow = ("--replicaof", HOST, str(primary.port))
        followers = [stack.enter_context(_server(tls, *follow)) for _ in range(replicas)]
        watchers = [stack.enter_context(Sentinel(primary, tls, count // 2 + 1)) for _ in range(count)]
        made = Sentinels([primary, *followers], watchers, tls)
        wait_until(made.is_whole)
        yield made


class Sentinel(Server):
    """A sentinel that takes a server for the primary; it keeps what it learns in its configuration file."""

    def __init__(self, primary: Server, tls: TlsFiles | None = None, quorum: int = 2, name: str = SERVICE) -> None:
        super().__init__(find("redis-server"), tls=tls)
        self._settings = (
            f"sentinel monitor {name} {HOST} {primary.port} {quorum}\n"
            f"sentinel down-after-milliseconds {name} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {name} 5000\n"
            f"tls-replication {'yes' if tls else 'no'}\n"
        )

    def _command(self) -> list[str]:
        file = self.data / "sentinel.conf"
        if not file.exists():
            file.write_text(self._settings)
        guard = die_with_parent()
        binary, *arguments = super()._command()[len(guard) :]
        return [*guard, binary, str(file), "--sentinel", *arguments]


def ask(server: Server, *command: str) -> Any:
    """What a server answers to a command, as it is."""
    with Redis.from_url(f"{server.url}?{server.options}") as client:
        client.response_callbacks.clear()
        return client.execute_command(*command)


def wait_until(true: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Return once it is so; a server that does not answer says no."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(RedisError):
            if true():
                return
        time.sleep(0.02)
    raise TimeoutError(f"{true} was not so within {seconds} seconds")


def _url(kind: str, user: str, servers: Sequence[Server], path: str, tls: TlsFiles | None) -> str:
    hosts = ",".join(f"{HOST}:{server.port}" for server in servers)
    return f"redis{'s' if tls else ''}+{kind}://{user}{hosts}{path}{f'?{tls.options}' if tls else ''}"


def _member(tls: TlsFiles | None) -> Server:
    # The bus has a port of its own choice: the usual one, 10,000 higher, may be in use.
    return _server(
        tls,
        *("--databases", "1", "--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN_AFTER_MS)),
        *("--cluster-port", str(free_port()), "--cluster-require-full-coverage", "no"),
        *(("--tls-cluster", "yes") if tls else ()),
    )


def _server(tls: TlsFiles | None, *arguments: str) -> Server:
    secure = ("--tls-replication", "yes") if tls else ()
    # Without the delay of a replica's first copy, a failover takes as long as finding out does, and no longer.
    options = ("--appendonly", "yes", "--repl-diskless-sync-delay", "0", *secure)
    return start("redis-server", *options, *arguments, tls=tls)


def _redis_cli() -> str:
    found = shutil.which("redis-cli")
    if found is None:
        raise ServerMissingError("redis-cli", "Get it with: apt-get install redis-tools")
    return found


def _cli_options(tls: TlsFiles | None) -> list[str]:
    if tls is None:
        return []
    files = ("--cacert", tls.authority, "--cert", tls.certificate, "--key", tls.key)
    return ["--tls", *map(str, files)]


def _in_step(servers: Sequence[Server], primaries: int) -> bool:
    """Whether all but so many are replicas, connected, and have what their primary has."""
    facts = [_parse(ask(server, "INFO", "replication")) for server in servers]
    offsets = {each["master_repl_offset"] for each in facts if each["role"] == "master"}
    links = [each for each in facts if each["role"] == "slave"]
    if len(links) != len(servers) - primaries:
        return False
    return all(each["master_link_status"] == "up" and each["slave_repl_offset"] in offsets for each in links)


def _parse(info: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)


def _any_answer(servers: Sequence[Server], *command: str) -> Any:
    for server in servers:
        with suppress(RedisError):
            return ask(server, *command)
    raise TimeoutError("none of the servers answers")
