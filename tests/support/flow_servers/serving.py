"""Servers in threads of their own, that can be killed and started again on the same port."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.support.servers import HOST, TlsFiles, free_port

from .faults import Answer, Fault

START_SECONDS = 20.0


@dataclass(frozen=True)
class Asked:
    """A request that arrived; ``client`` is the other end of its connection."""

    client: tuple[str, int]

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class ServedFlows:
    """A server with flows. It is started on entry of a `with` statement, and gone on exit.

    Attributes:
        key: the key that it takes.
        fault: what it does wrong with questions, until it is set to None again.
        silent: whether it answers nothing at all.
        hides_messages: whether a proxy before it lets nobody read what it has of conversations.
        asked: the requests that arrived.
    """

    questions: ClassVar[tuple[str, ...]]  # what the paths of questions begin with

    def __init__(self, *, key: str = "", tls: TlsFiles | None = None) -> None:
        self.key = key
        self.fault: Fault | None = None
        self.silent = False
        self.hides_messages = False
        self.asked: list[Asked] = []
        self.port = free_port()
        self._tls = tls
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def app(self) -> Starlette:
        """What is served."""
        raise NotImplementedError

    def forget(self) -> None:
        """Lose all conversations, as with an emptied database."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    def runs(self) -> list[Asked]:
        """The questions that arrived."""
        return [each for each in self.asked if each.method == "POST" and self.is_question(each)]

    def is_question(self, asked: Asked) -> bool:
        """Whether a request is a question, and not something else at the same place."""
        return asked.path.startswith(self.questions)

    def start(self) -> None:
        """Serve; return once connections are accepted."""
        # asyncio turns Nagle's algorithm off only for sockets that say that they are TCP's.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, self.port))
        options: dict[str, Any] = {"lifespan": "off", "log_config": None, "timeout_keep_alive": 5}
        if self._tls:
            options |= {"ssl_certfile": str(self._tls.certificate), "ssl_keyfile": str(self._tls.key)}
        server = self._server = _Server(uvicorn.Config(self._noting(self.app()), **options))
        self._thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        self._thread.start()
        if not server.up.wait(START_SECONDS):
            raise RuntimeError("the server does not start")

    def kill(self) -> None:
        """End at once: connections break, what is under way is lost. Harmless on one that is down."""
        if self._server is not None and self._thread is not None:
            self._server.abort()
            self._thread.join(START_SECONDS)
            self._server = self._thread = None

    def restart(self, *, empty: bool = False) -> None:
        """Kill it, and start it on the same port; without its conversations if it is to be ``empty``."""
        self.kill()
        if empty:
            self.forget()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    async def faulty(self, request: Request, answer: Answer) -> Response:
        """The answer to a question, or what the fault makes of it."""
        return await (self.fault(request, answer) if self.fault else answer())

    def _noting(self, app: Starlette) -> ASGIApp:
        """The app, and before it a note of what it is asked."""

        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            body = await request.body()
            query, headers = dict(request.query_params), dict(request.headers)
            self.asked.append(Asked(scope["client"], request.method, scope["path"], query, headers, body))
            if self.silent:
                await asyncio.Event().wait()
            unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def again() -> Message:
                return unread.pop() if unread else await receive()

            await app(scope, again, send)

        return noting


async def hidden(_: Request) -> Response:
    """What a proxy says of what it lets nobody see."""
    return HTMLResponse("<html><title>Forbidden</title></html>", 403)


class _Server(uvicorn.Server):
    """A server that says when it is up, and ends at once when another thread wants it to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.up.set()

    async def main_loop(self) -> None:
        await self._over.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def abort(self) -> None:
        """End the server, from any thread. What it is busy with is cancelled with its event loop."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
