"""`flywheel mcp --http` as a process of its own, on a loopback port that outlives it."""

import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from os import environ as outside
from os import pathsep
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.servers import HOST, free_port

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "agentic_flywheel.cli", "mcp", "--http")
START_SECONDS = 60.0
STOP_SECONDS = 60.0

# Not used, and cheaper than one for each client, which would read all the certificates of the system.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class HttpServer:
    """A server process. As a context manager it is started on entry, and killed on exit.

    ``folder`` is where it keeps its log; `environ` is what it is told beside the variables of the tests.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], *arguments: str, host: str = HOST) -> None:
        self.port = free_port()
        self._log = folder / f"server-{uuid4().hex}.log"
        self._command = (*COMMAND, "--host", host, "--port", str(self.port), *arguments)
        path = pathsep.join(filter(None, (str(ROOT), outside.get("PYTHONPATH"))))
        self._environ = {**outside, **environ, "PYTHONPATH": path}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        """The server's URL without a path."""
        return f"http://{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """Where MCP is served."""
        return f"{self.base}/mcp"

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Spawn the server; return once it answers."""
        self.spawn()
        self.await_answer()

    def await_answer(self) -> None:
        """Return once the process answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def spawn(self) -> None:
        """Start the process and do not wait for it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """SIGKILL. Harmless on a server that is down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """SIGTERM, without waiting for the end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        assert self._process is not None
        code = self._process.wait(STOP_SECONDS)
        self._process = None
        return code

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.base}/health", verify=_TLS, trust_env=False).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@asynccontextmanager
async def client_of(
    url: str, mode: str, token: str | None = None, *, keep_alive: bool = True
) -> AsyncIterator[Client]:
    """The SDK's own client, on its own HTTP client; with a token if one is given.

    Without ``keep_alive`` each request has a connection of its own, which a balancer can send to another server.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx2.Limits(max_keepalive_connections=None if keep_alive else 0)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, verify=_TLS, trust_env=False, limits=limits) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


async def result_of(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a tool that must not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def post(url: str, token: str | None = None, **headers: str) -> httpx2.Response:
    """Send a ping as plain HTTP, and get the plain answer."""
    given = {"Accept": "application/json, text/event-stream", **headers}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    async with httpx2.AsyncClient(timeout=60, verify=_TLS, trust_env=False) as http:
        return await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=given)


async def get(url: str, **headers: str) -> httpx2.Response:
    """Get a page."""
    async with httpx2.AsyncClient(timeout=60, verify=_TLS, trust_env=False) as http:
        return await http.get(url, headers=headers)
