"""A flow server that costs next to nothing: it answers Flowise's requests, at once or after a while.

``python -m benchmarks.flow_server`` prints the port that it listens on, and serves until its input is closed. The
name of a flow says after how many milliseconds it answers, on the average: each question takes between half and one
and a half times as long, in a fixed order.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

QUESTION = "What is creative orientation?"
ANSWER = "Creative orientation focuses on... " * 28  # about 1 KB
SPREAD = (1.0, 0.6, 1.4, 0.8, 1.2, 0.5, 1.5, 0.9, 1.1, 0.7, 1.3)  # else all callers would get their answers at once
ROOT = Path(__file__).resolve().parent.parent

_REPLY = json.dumps(
    {
        "text": ANSWER,
        "question": QUESTION,
        "chatId": "chat",
        "chatMessageId": "message",
        "sessionId": "session",
    }
).encode()
_EXCHANGE = [
    {"role": "apiMessage", "content": ANSWER},
    {"role": "userMessage", "content": QUESTION},
]  # the newest first
_MESSAGES = json.dumps(_EXCHANGE * 50).encode()  # enough of them for nothing to be lacking


class _Connection(asyncio.Protocol):
    """Answers one request after another; it takes each from its first line and the length of its body."""

    _spread = cycle(SPREAD)  # for all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a TCP connection has one
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """As `asyncio.Protocol`."""
        self._received += data
        while (request := self._next()) is not None:
            method, path = request.split(b" ", 2)[:2]
            body = _REPLY if method == b"POST" else _MESSAGES
            delay = int(path.rpartition(b"/")[2]) / 1000 if method == b"POST" else 0.0
            if delay:
                asyncio.get_running_loop().call_later(delay * next(self._spread), self._answer, body)
            else:
                self._answer(body)

    def _next(self) -> bytes | None:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(rest) < length:
            return None
        self._received = rest[length:]
        return head

    def _answer(self, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def flow_server() -> Iterator[str]:
    """The URL of a server in a process of its own, which ends with the block."""
    command = [sys.executable, "-m", "benchmarks.flow_server"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # noqa: S101  # it is a pipe
        assert process.stdout is not None  # noqa: S101  # the same
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.wait(10)


if __name__ == "__main__":
    asyncio.run(_serve())
