"""The tests' own tools keep their word: servers die and come back, and the network fails as ordered."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest

from tests.support.proxy import GARBAGE, Proxy
from tests.support.servers import HOST, Kind, Server, ServerStartError, TlsFiles, find, start

PATIENCE = 10.0
ROOT = Path(__file__).parent.parent


class Client:
    """A connection that speaks Redis's inline protocol: a line out, an answer back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, line: str) -> None:
        self._writer.write(line.encode() + b"\r\n")

    async def receive(self) -> bytes:
        """What came in at one go; empty at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(4096)

    async def ask(self, line: str) -> bytes:
        self.send(line)
        return await self.receive()

    async def is_silent(self, seconds: float = 0.05) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return not await self._reader.read(1)
        except TimeoutError:
            return True

    async def close(self) -> None:
        self._writer.close()
        # A connection that was reset reports it here again.
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


class Clients:
    """Opens clients, and closes them with the test."""

    def __init__(self) -> None:
        self._open: list[Client] = []

    async def __call__(self, port: int) -> Client:
        client = Client(*await asyncio.open_connection(HOST, port))
        self._open.append(client)
        return client

    async def close(self) -> None:
        for client in self._open:
            await client.close()


@pytest.fixture
async def connect() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    await clients.close()


@pytest.fixture
async def proxy(kv_server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(kv_server.port) as proxy:
        yield proxy


async def test_a_started_server_answers(kv_server: Server, connect: Clients) -> None:
    client = await connect(kv_server.port)
    assert await client.ask("PING") == b"+PONG\r\n"


async def test_a_killed_server_is_gone(own_server: Server, connect: Clients) -> None:
    own_server.kill()
    with pytest.raises(ConnectionRefusedError):
        await connect(own_server.port)


async def test_a_restart_keeps_the_port_and_what_was_acknowledged(own_server: Server, connect: Clients) -> None:
    """Killed without warning, the server comes back with every write that it had answered."""
    assert await (await connect(own_server.port)).ask("SET survivor yes") == b"+OK\r\n"
    port = own_server.port
    own_server.kill()
    own_server.restart()
    assert own_server.port == port
    assert await (await connect(port)).ask("GET survivor") == b"$3\r\nyes\r\n"


async def test_a_running_server_can_be_restarted(own_server: Server, connect: Clients) -> None:
    before = own_server.pid
    own_server.restart()
    assert own_server.pid != before
    assert await (await connect(own_server.port)).ask("PING") == b"+PONG\r\n"


async def test_a_server_without_a_file_forgets(kv_server: Server, kv_kind: Kind, connect: Clients) -> None:
    """Without extra arguments nothing is kept, so that an outage with total loss can be tested."""
    with start(kv_kind) as server:
        await (await connect(server.port)).ask("SET survivor no")
        server.restart()
        assert await (await connect(server.port)).ask("GET survivor") == b"$-1\r\n"


async def test_a_paused_server_is_silent_and_then_does_what_it_was_sent(
    own_server: Server, connect: Clients
) -> None:
    client = await connect(own_server.port)
    own_server.pause()
    client.send("INCR counter")
    assert await client.is_silent()
    own_server.resume()
    assert await client.receive() == b":1\r\n"


async def test_a_paused_server_can_be_stopped(own_server: Server) -> None:
    own_server.pause()
    own_server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        own_server.pause()


async def test_a_password_is_asked_for_and_stands_in_the_url(connect: Clients) -> None:
    with start("valkey", password="p@ss/word") as server:
        assert server.url == f"redis://:p%40ss%2Fword@{HOST}:{server.port}"
        client = await connect(server.port)
        assert (await client.ask("PING")).startswith(b"-NOAUTH")
        assert await client.ask("AUTH p@ss/word") == b"+OK\r\n"


def test_a_server_speaks_tls(redis_server: Server, tmp_path: Path) -> None:
    """`redis-server` alone: the packaged Valkey is built without TLS."""
    files = TlsFiles.issue(tmp_path)
    with start("redis-server", tls=files) as server:
        assert server.url.startswith("rediss://")
        with (
            socket.create_connection((HOST, server.port), PATIENCE) as plain,
            files.wrap(plain) as secure,
        ):
            secure.sendall(b"PING\r\n")
            assert secure.recv(64) == b"+PONG\r\n"


def test_a_server_that_cannot_start_shows_its_log() -> None:
    with pytest.raises(ServerStartError, match="no-such-option"), start("valkey", "--no-such-option", "1"):
        pass


def test_data_is_removed_at_the_end() -> None:
    with start("valkey") as server:
        data = server.data
        assert data.is_dir()
    assert not data.exists()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux can tie a child's life to its parent's")
def test_a_server_dies_with_killed_tests(tmp_path: Path) -> None:
    """Even when the test process gets SIGKILL and no clean-up code runs."""
    script = (
        "import os, signal; from tests.support.servers import start\n"
        "server = start('valkey'); server.start(); print(server.port, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL
    wait_until_refused(int(run.stdout))


async def test_each_test_gets_an_empty_database(kv_url: str, kv_server: Server, connect: Clients) -> None:
    client = await connect(kv_server.port)
    assert await client.ask(f"SELECT {kv_url.rpartition('/')[2]}") == b"+OK\r\n"
    assert await client.ask("DBSIZE") == b":0\r\n"


async def test_a_healthy_proxy_is_not_noticed(proxy: Proxy, connect: Clients) -> None:
    client = await connect(proxy.port)
    assert await client.ask("PING") == b"+PONG\r\n"
    assert proxy.connections == 1


async def test_refuse_closes_the_door_but_not_what_is_open(proxy: Proxy, connect: Clients) -> None:
    client = await connect(proxy.port)
    assert await client.ask("PING") == b"+PONG\r\n"
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy.port)
    assert await client.ask("PING") == b"+PONG\r\n"
    await proxy.pass_through()
    assert await (await connect(proxy.port)).ask("PING") == b"+PONG\r\n"


async def test_reset_breaks_what_is_open_but_not_the_door(proxy: Proxy, connect: Clients) -> None:
    client = await connect(proxy.port)
    assert await client.ask("PING") == b"+PONG\r\n"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await client.receive()
    assert await (await connect(proxy.port)).ask("PING") == b"+PONG\r\n"


async def test_a_blackhole_accepts_and_swallows(proxy: Proxy, connect: Clients) -> None:
    """What fell in is gone for good, and so is the connection that lost it."""
    proxy.blackhole()
    client = await connect(proxy.port)
    client.send("SET fallen in")
    assert await client.is_silent()
    await proxy.pass_through()
    with pytest.raises(ConnectionResetError):
        await client.receive()
    assert await (await connect(proxy.port)).ask("GET fallen") == b"$-1\r\n"


async def test_a_delayed_answer_comes_late(proxy: Proxy, connect: Clients) -> None:
    client = await connect(proxy.port)
    proxy.delay(0.5)
    client.send("PING")
    assert await client.is_silent(0.01)
    assert await client.receive() == b"+PONG\r\n"


async def test_a_cut_answer_is_lost_after_the_command_was_applied(proxy: Proxy, connect: Clients) -> None:
    """The fault that makes a client count twice: only the requests aimed at are hit, as often as ordered."""
    proxy.cut_answer(times=2, of=b"INCR")
    for _ in range(2):
        client = await connect(proxy.port)
        assert await client.ask("DEL unrelated") == b":0\r\n"
        assert await client.ask("INCR cut") == b""
    assert await (await connect(proxy.port)).ask("INCR cut") == b":3\r\n"
    await (await connect(proxy.port)).ask("DEL cut")


async def test_a_halved_answer_ends_in_the_middle(proxy: Proxy, connect: Clients) -> None:
    client = await connect(proxy.port)
    proxy.halve_answer()
    assert await client.ask("ECHO abcdef") == b"$6\r\nab"
    assert await client.receive() == b""


async def test_a_garbled_answer_leaves_the_connection_open(proxy: Proxy, connect: Clients) -> None:
    client = await connect(proxy.port)
    proxy.garble_answer()
    assert await client.ask("PING") == GARBAGE
    assert await client.ask("PING") == b"+PONG\r\n"


async def test_a_proxy_before_a_dead_server_resets(own_server: Server, connect: Clients) -> None:
    async with Proxy(own_server.port) as proxy:
        own_server.kill()
        client = await connect(proxy.port)
        with pytest.raises(ConnectionResetError):
            await client.receive()
        own_server.restart()
        assert await (await connect(proxy.port)).ask("PING") == b"+PONG\r\n"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_lacks_its_server_is_named_at_the_end(workers: str, tmp_path: Path) -> None:
    """Never a skip that looks like a pass, in one process as in several."""
    run = run_tests_without_redis(tmp_path, "-n", workers, CI="")
    assert run.returncode == 0, run.stdout
    assert "NOT RUN for lack of a server" in run.stdout
    assert "1 tests not run: redis-server is not installed. Get it with: apt-get install" in run.stdout
    assert "1 passed, 1 not run" in run.stdout.splitlines()[-1]


def test_in_ci_a_lacking_server_is_a_failure(tmp_path: Path) -> None:
    run = run_tests_without_redis(tmp_path, CI="true")
    assert run.returncode == 1
    assert "apt-get install redis-server" in run.stdout
    assert "1 passed, 1 error" in run.stdout.splitlines()[-1]


def run_tests_without_redis(empty: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One test on both kinds of server, in a fresh test run that finds no program on its PATH."""
    command = [sys.executable, "-m", "pytest", f"{__file__}::test_a_started_server_answers", *options]
    environment = os.environ | {"PATH": str(empty), **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def wait_until_refused(port: int) -> None:
    """Return when nobody listens on the port any more."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return
    pytest.fail(f"port {port} is still served")


def test_the_packaged_valkey_is_found() -> None:
    assert find("valkey").name == "valkey-server"
