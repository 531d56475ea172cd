"""A load balancer: each connection goes to the next server that takes it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.servers import HOST, free_port

_CHUNK = 64 * 1024


class Balancer:
    """Spreads connections over ports, in turn; `taken` counts what each of them got."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.port = free_port()
        self.taken: Counter[int] = Counter()
        self._ports = list(ports)
        self._links: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients find MCP."""
        return f"http://{HOST}:{self.port}/mcp"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._ports:
            self._ports.append(port := self._ports.pop(0))
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(HOST, port)
                self.taken[port] += 1
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
                return
        writer.close()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, HOST, self.port, backlog=1000)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until their end, or until one of the two is gone."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
