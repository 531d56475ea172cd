"""A port that a flow calls, and that lets it wait: so a test knows that it runs, and says when it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.servers import HOST

_ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"  # one of the flows knows no other protocol


class Callers:
    """Who called a port.

    Attributes:
        question: what makes the flow call it.
        first: somebody has called.
        hang_up: set it to let everybody go who waits, and who will call.
    """

    def __init__(self) -> None:
        self.question = ""
        self.first = asyncio.Event()
        self.hang_up = asyncio.Event()

    async def take(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Keep a caller waiting."""
        self.first.set()
        await self.hang_up.wait()
        writer.write(_ANSWER)
        writer.close()


@asynccontextmanager
async def callers() -> AsyncIterator[Callers]:
    """A port of this machine, for as long as the context lasts."""
    taken = Callers()
    listening = await asyncio.start_server(taken.take, HOST, 0)
    taken.question = f"call {listening.sockets[0].getsockname()[1]}"
    try:
        yield taken
    finally:
        taken.hang_up.set()
        listening.close()
