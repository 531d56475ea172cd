"""What a flow server, or something before it, does wrong with a question."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

Answer = Callable[[], Awaitable[Response]]
Fault = Callable[[Request, Answer], Awaitable[Response]]

PIECE = 1024 * 1024
LONGEST_WAIT = 20.0  # seconds; nothing takes as long


def page(status: int = 200) -> Fault:
    """An HTML page instead of an answer: a login page, or a proxy's error."""

    async def fault(_: Request, __: Answer) -> Response:
        title = HTTPStatus(status).phrase
        return HTMLResponse(f"<!DOCTYPE html><html><title>{title}</title><body>{title}</body></html>", status)

    return fault


def saying(status: int, body: object) -> Fault:
    """Any other JSON."""

    async def fault(_: Request, __: Answer) -> Response:
        return JSONResponse(body, status)

    return fault


def bare(body: bytes, kind: str, status: int = 200) -> Fault:
    """These bytes, whatever they are."""

    async def fault(_: Request, __: Answer) -> Response:
        return Response(body, status, media_type=kind)

    return fault


def redirect(location: str) -> Fault:
    """A redirect that keeps method and body."""

    async def fault(_: Request, __: Answer) -> Response:
        return RedirectResponse(location, 307)

    return fault


async def half(_: Request, answer: Answer) -> Response:
    """The first half of the answer, and then the end of the connection. The turn is run, and kept."""
    return _Half(await answer())


async def never(_: Request, __: Answer) -> Response:
    """No answer, and the question is not even begun."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


class Huge:
    """A reply of so many bytes; ``sent`` are those that were sent.

    One that is ``announced`` tells before how many there will be, and then waits for somebody to hang up.
    """

    def __init__(self, size: int = 50 * PIECE, *, announced: bool = False, kind: str = "application/json") -> None:
        self.sent = 0
        self.size = size
        self._headers = {"content-length": str(size)} if announced else {}
        self._kind = kind

    async def __call__(self, request: Request, _: Answer) -> Response:
        return StreamingResponse(self._pieces(request), media_type=self._kind, headers=self._headers)

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        if self._headers:
            await asyncio.Event().wait()
        while self.sent < self.size and not await request.is_disconnected():
            yield b" " * PIECE
            self.sent += PIECE


class Late:
    """The question is answered when it is let go, whether somebody still waits for that or not."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._go = asyncio.Event()
        self._done = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, _: Request, answer: Answer) -> Response:
        self._loop = asyncio.get_running_loop()
        self._asked.set()
        await self._go.wait()
        response = await answer()
        self._done.set()
        return response

    def wait_until_asked(self) -> None:
        """Return when the question is there."""
        assert self._asked.wait(LONGEST_WAIT)

    def let_go(self) -> None:
        """Let the server answer; return when it has."""
        self.wait_until_asked()
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._go.set)
        assert self._done.wait(LONGEST_WAIT)


class Once:
    """A fault that befalls one question only."""

    def __init__(self, fault: Fault) -> None:
        self._fault: Fault | None = fault

    async def __call__(self, request: Request, answer: Answer) -> Response:
        fault, self._fault = self._fault, None
        return await (fault(request, answer) if fault else answer())


class Nth:
    """A fault that befalls one request only, the first one or a later one."""

    def __init__(self, number: int, fault: Fault) -> None:
        self._left = number
        self._fault = fault

    async def __call__(self, request: Request, answer: Answer) -> Response:
        self._left -= 1
        return await (answer() if self._left else self._fault(request, answer))


class Slow:
    """Answers after so many seconds; what the flow knows is from before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(self, _: Request, answer: Answer) -> Response:
        await asyncio.sleep(self._seconds)
        return await answer()


class Zipped:
    """The answer compressed, as by a proxy; what is not asked for so stays as it is.

    Args:
        compress: what does that.
        encoding: what it is said to be.
    """

    def __init__(self, compress: Callable[[bytes], bytes], encoding: str) -> None:
        self._compress = compress
        self._encoding = encoding

    async def __call__(self, request: Request, answer: Answer) -> Response:
        whole = await answer()
        if self._encoding not in request.headers.get("accept-encoding", ""):
            return whole
        body, kind = await _body(whole)
        return Response(self._compress(body), media_type=kind, headers={"content-encoding": self._encoding})


async def _body(whole: Response) -> tuple[bytes, str]:
    if isinstance(whole, StreamingResponse):
        pieces = [str(piece) async for piece in whole.body_iterator]
        return "".join(pieces).encode(), "text/event-stream"
    return bytes(whole.body), "application/json"


class _Half(Response):
    """Half of another response; uvicorn closes the connection of one that does not end."""

    def __init__(self, whole: Response) -> None:
        super().__init__(status_code=whole.status_code, media_type=whole.media_type)
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, kind = await _body(self._whole)
        headers = [(b"content-type", kind.encode())]
        if not isinstance(self._whole, StreamingResponse):
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
