"""A connection to a flow server: bytes in and out, over asyncio itself.

The HTTP library brings one that serves every kind of event loop; what it does for that, and asyncio does not need,
takes a fifth of a call.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

import httpcore2

from .presence import is_open

HAPPY_EYEBALLS_SECONDS = 0.25
"""After which the next address of a host is tried beside the first (RFC 8305)."""

ENOUGH = 256 * 1024  # bytes that wait to be read; what comes after them stays with the server until they are


class Network(httpcore2.AsyncNetworkBackend):
    """Opens connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> Wire:
        local = (local_address, 0) if local_address is not None else None
        try:
            async with asyncio.timeout(timeout):
                _, wire = await asyncio.get_running_loop().create_connection(
                    Wire, host, port, local_addr=local, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS
                )
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        for option in socket_options or ():
            wire.get_extra_info("socket").setsockopt(*option)
        return wire

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Wire(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """An open connection. One task at a time reads, and one writes."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._received: deque[bytes] = deque()
        self._size = 0
        self._is_over = False
        self._error: Exception | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has arrived, or arrives next, even if it was before an error; nothing at the end."""
        if not self._received and not self._is_over:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._arrival
            except TimeoutError as error:
                raise httpcore2.ReadTimeout from error
            finally:
                self._arrival = None
        if self._received:
            return self._take(max_bytes)
        if self._error is not None:
            raise httpcore2.ReadError(str(self._error)) from self._error
        return b""

    def _take(self, max_bytes: int) -> bytes:
        piece = self._received.popleft()
        if len(piece) > max_bytes:
            self._received.appendleft(piece[max_bytes:])
            piece = piece[:max_bytes]
        self._size -= len(piece)
        if self._size < ENOUGH and not self._is_over:
            self._transport.resume_reading()
        return piece

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes; waits where the server does not take them as fast as they come."""
        if self._is_over:
            raise httpcore2.WriteError(str(self._error or "the connection was closed")) from self._error
        self._transport.write(buffer)
        if self._room is not None:
            try:
                async with asyncio.timeout(timeout):
                    await asyncio.shield(self._room)
            except TimeoutError as error:
                raise httpcore2.WriteTimeout from error
            except OSError as error:
                raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close it at once: an answer that is under way is not wanted any more."""
        self._transport.abort()
        await asyncio.sleep(0)  # by then the socket is closed

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Wire:
        """Go on with the connection under TLS."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                secured = await loop.start_tls(self._transport, self, ssl_context, server_hostname=server_hostname)
            if secured is None:
                raise ConnectionResetError("the connection was closed during the TLS handshake")
        except BaseException as error:
            await self.aclose()
            if isinstance(error, TimeoutError):
                raise httpcore2.ConnectTimeout from error
            if isinstance(error, OSError):
                raise httpcore2.ConnectError(str(error)) from error
            raise
        self._transport = secured
        return self

    def get_extra_info(self, info: str) -> Any:
        """As `httpcore2.AsyncNetworkStream`; something ``is_readable`` on an idle one that is not fit for use."""
        if info == "is_readable":
            return self._is_over or bool(self._received) or not is_open(self.get_extra_info("socket"))
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        self._size += len(data)
        if self._size >= ENOUGH:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        # A server that has said all is not asked again: the transport closes.
        self._is_over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over, self._error = True, exc
        self._wake()
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_exception(exc or ConnectionResetError("the connection was closed"))
            room.exception()  # nobody may be waiting for it

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
