"""A TCP proxy between client and server whose network fails on request.

    async with Proxy(server.port) as proxy:
        connect("127.0.0.1", proxy.port)
        proxy.cut_answer(of=b"EVALSHA")   # the script runs, its answer is lost

An *answer* is what the server sends at one go after a request; `of=` aims at requests that hold these bytes.
A client's handshake is a request too: aim the fault, or order it when the client is connected.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.servers import HOST, free_port

GARBAGE = b"\x00\xff this is not the protocol you are looking for\r\n"

_CHUNK = 64 * 1024
# On, with zero seconds to linger: closing the socket sends RST instead of FIN.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class _Fault:
    """What becomes of the answer to the next request that contains `of`."""

    of: bytes
    spoil: Callable[[bytes], bytes]
    closes: bool


@dataclass
class _Network:
    """The faults in force, shared by all connections of a proxy."""

    delay: float = 0.0
    blackhole: bool = False
    requests: list[bytes] = field(default_factory=list)
    faults: list[_Fault] = field(default_factory=list)

    def claim(self, request: bytes) -> _Fault | None:
        """The fault that waits for such a request, used up by this one."""
        for fault in self.faults:
            if fault.of in request:
                self.faults.remove(fault)
                return fault
        return None


class Proxy:
    """Passes everything through until told otherwise; `pass_through` ends every fault."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._network = _Network()
        self._listener: asyncio.Server | None = None
        self._links: dict[_Link, asyncio.Task[None]] = {}

    @property
    def url(self) -> str:
        """Where a client finds the proxy."""
        return f"redis://{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._links)

    @property
    def requests(self) -> list[bytes]:
        """What clients sent so far, each time at one go: as many round trips, if each waits for its answer."""
        return self._network.requests

    async def pass_through(self) -> None:
        """A healthy network again. A connection that lost bytes is reset: TCP never goes on after a gap."""
        self._network.delay = 0.0
        self._network.blackhole = False
        self._network.faults.clear()
        for link in [link for link in self._links if link.lost_bytes]:
            link.reset()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port)

    def refuse(self) -> None:
        """New connections are refused; existing ones live on (see `reset`)."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def reset(self) -> None:
        """Break every existing connection with RST; new ones are welcome."""
        for link in list(self._links):
            link.reset()

    def blackhole(self) -> None:
        """Accept, swallow every byte in either direction, never answer."""
        self._network.blackhole = True

    def delay(self, seconds: float) -> None:
        """Hold every answer back for so long; the server gets the request at once."""
        self._network.delay = seconds

    def cut_answer(self, times: int = 1, *, of: bytes = b"") -> None:
        """The server carries out the next requests; their answers are lost and the connection closed."""
        self._network.faults += times * [_Fault(of, spoil=lambda answer: b"", closes=True)]

    def halve_answer(self, times: int = 1, *, of: bytes = b"") -> None:
        """The next answers end in the middle, and the connection with them."""
        self._network.faults += times * [_Fault(of, spoil=lambda answer: answer[: len(answer) // 2], closes=True)]

    def garble_answer(self, times: int = 1, *, of: bytes = b"") -> None:
        """The next answers are garbage; the connection stays open."""
        self._network.faults += times * [_Fault(of, spoil=lambda answer: GARBAGE, closes=False)]

    def repeat_answer(self, times: int = 1, *, of: bytes = b"") -> None:
        """The next answers come twice; the connection stays open."""
        self._network.faults += times * [_Fault(of, spoil=lambda answer: answer * 2, closes=False)]

    async def __aenter__(self) -> Self:
        await self.pass_through()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self.reset()
        await asyncio.gather(*self._links.values())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self._network, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            await link.run(self._target_port)
        finally:
            del self._links[link]


class _Link:
    """One client's connection and its twin to the server."""

    def __init__(
        self, network: _Network, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        self.lost_bytes = False
        self._network = network
        self._from_client = from_client
        self._to_client = to_client
        self._writers = [to_client]
        self._fault: _Fault | None = None

    async def run(self, target_port: int) -> None:
        """Carry bytes both ways until either side, or a fault, ends it."""
        try:
            from_server, to_server = await asyncio.open_connection(HOST, target_port)
            self._writers.append(to_server)
            await _first_of(self._carry_requests(to_server), self._carry_answers(from_server))
        except ConnectionError:
            self.reset()
        finally:
            await self._close()

    def reset(self) -> None:
        """Break both connections with RST."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            # The other side may have closed it already.
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _carry_requests(self, to_server: asyncio.StreamWriter) -> None:
        while request := await self._from_client.read(_CHUNK):
            self._network.requests.append(request)
            if self._swallowed():
                continue
            self._fault = self._network.claim(request) or self._fault
            to_server.write(request)
            await to_server.drain()

    async def _carry_answers(self, from_server: asyncio.StreamReader) -> None:
        while answer := await from_server.read(_CHUNK):
            await asyncio.sleep(self._network.delay)
            if self._swallowed():
                continue
            fault, self._fault = self._fault, None
            self._to_client.write(fault.spoil(answer) if fault else answer)
            await self._to_client.drain()
            if fault and fault.closes:
                return

    def _swallowed(self) -> bool:
        self.lost_bytes |= self._network.blackhole
        return self._network.blackhole

    async def _close(self) -> None:
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)


async def _first_of(*jobs: Coroutine[None, None, None]) -> None:
    """Run the jobs until one of them ends; cancel the rest."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
