"""Connections over asyncio itself, against real servers that behave, or do not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore2
import pytest

from agentic_flywheel.backends.http_wire import ENOUGH, Network, Wire
from tests.support.servers import HOST, TlsFiles, free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PIECE = 64 * 1024
MOST_PIECES = 1024  # more than systems keep for somebody who does not read: Linux some 32 MB, and varies
SOON = 5.0  # seconds; nothing that goes well takes as long


@asynccontextmanager
async def connected(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """A connection to a server that does this with it."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(served, HOST, 0, ssl=tls) as server:
        wire = await Network().connect_tcp(HOST, server.sockets[0].getsockname()[1], timeout=SOON)
        try:
            yield wire
        finally:
            await wire.aclose()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take nothing and say nothing, until the other end goes."""
    transport = reader._transport  # type: ignore[attr-defined]  # the one way to take nothing at all
    transport.pause_reading()
    await asyncio.sleep(SOON)


def break_off(writer: asyncio.StreamWriter) -> None:
    """Reset a connection; to close it could look like an end that was meant."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def all_of(wire: Wire, piece: int = PIECE) -> bytes:
    """What arrives until the end."""
    read = []
    while data := await wire.read(piece, SOON):
        assert len(data) <= piece
        read.append(data)
    return b"".join(read)


async def test_what_is_sent_comes_back() -> None:
    async with connected(echo) as wire:
        for text in (b"a question", b"another"):
            await wire.write(text, SOON)
            assert await wire.read(PIECE, SOON) == text
        assert wire.get_extra_info("server_addr")[0] == HOST
        assert not wire.get_extra_info("is_readable")


@pytest.mark.parametrize("piece", [1000, PIECE, 16 * ENOUGH])
async def test_much_arrives_as_it_was_sent(piece: int) -> None:
    """In pieces of the size that is asked for; the server has to wait where nobody reads."""
    text = bytes(range(256)) * (PIECE // 256)
    count = 0
    waited = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
        nonlocal count
        while not waited.is_set() and count < MOST_PIECES:
            writer.write(text)
            count += 1
            try:
                async with asyncio.timeout(0.05):
                    await writer.drain()
            except TimeoutError:
                waited.set()
                await writer.drain()

    async with connected(serve) as wire:
        await asyncio.wait_for(waited.wait(), SOON)
        assert await all_of(wire, piece) == text * count


async def test_what_arrived_before_the_connection_broke_is_read() -> None:
    """A server that refuses a question often does not wait for the rest of it."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"413")
        await writer.drain()
        await asyncio.sleep(0.05)
        break_off(writer)

    async with connected(serve) as wire:
        await wire.write(b"the first half")
        await asyncio.sleep(0.2)
        assert await wire.read(PIECE, SOON) == b"413"
        with pytest.raises(httpcore2.ReadError):
            await wire.read(PIECE, SOON)
        with pytest.raises(httpcore2.WriteError):
            await wire.write(b"the second half")


async def test_one_that_its_server_closed_is_not_fit_for_use() -> None:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(PIECE)

    async with connected(serve) as wire:
        await wire.write(b"the last question")
        assert await wire.read(PIECE, SOON) == b""
        assert wire.get_extra_info("is_readable")
        with pytest.raises(httpcore2.WriteError):
            await wire.write(b"one more")


async def test_one_on_which_something_came_that_nobody_asked_for() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"408")
        await asyncio.sleep(SOON)

    async with connected(serve) as wire:
        await asyncio.sleep(0.1)
        assert wire.get_extra_info("is_readable")


async def test_a_server_that_says_nothing() -> None:
    async with connected(silence) as wire:
        with pytest.raises(httpcore2.ReadTimeout):
            await wire.read(PIECE, 0.05)


async def test_a_server_that_takes_nothing() -> None:
    async with connected(silence) as wire:
        with pytest.raises(httpcore2.WriteTimeout):
            await wire.write(b"x" * 64 * ENOUGH, 0.05)


async def test_a_server_that_goes_while_it_is_told() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        break_off(writer)

    async with connected(serve) as wire:
        with pytest.raises(httpcore2.WriteError):
            await wire.write(b"x" * 64 * ENOUGH, SOON)


async def test_a_reader_that_gives_up() -> None:
    """Its connection serves the next one; what comes later is not lost."""
    async with connected(echo) as wire:
        reading = asyncio.create_task(wire.read(PIECE, SOON))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await wire.write(b"again", SOON)
        assert await wire.read(PIECE, SOON) == b"again"


async def test_a_place_where_nobody_is() -> None:
    with pytest.raises(httpcore2.ConnectError):
        await Network().connect_tcp(HOST, free_port(), timeout=SOON)
    with pytest.raises(httpcore2.ConnectError):
        await Network().connect_tcp("flows.invalid", 80, timeout=SOON)


async def test_a_server_that_takes_no_connection() -> None:
    """Its queue is full, and the system answers nobody for it."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((HOST, 0))
        listener.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        with pytest.raises(httpcore2.ConnectTimeout):
            await Network().connect_tcp(HOST, listener.getsockname()[1], timeout=0.2)


class TestTls:
    """The same under TLS."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> TlsFiles:
        return TlsFiles.issue(tmp_path)

    @pytest.fixture
    def server(self, files: TlsFiles) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate, files.key)
        return context

    @pytest.fixture
    def client(self, files: TlsFiles) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(files.authority))

    async def test_what_is_sent_comes_back(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        sent = bytes(range(256)) * (8 * ENOUGH // 256)
        async with connected(echo, server) as wire:
            secured = await wire.start_tls(client, HOST, SOON)
            writing = asyncio.create_task(secured.write(sent, SOON))
            read = b""
            while len(read) < len(sent):
                read += await secured.read(PIECE, SOON)
            await writing
            assert read == sent
            assert secured.get_extra_info("ssl_object").version() == "TLSv1.3"
            assert not secured.get_extra_info("is_readable")

    async def test_a_server_that_closes(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"goodbye")
            await writer.drain()

        async with connected(serve, server) as wire:
            secured = await wire.start_tls(client, HOST, SOON)
            assert await all_of(secured) == b"goodbye"
            assert secured.get_extra_info("is_readable")

    async def test_a_certificate_that_does_not_verify(self, server: ssl.SSLContext) -> None:
        async with connected(echo, server) as wire:
            with pytest.raises(httpcore2.ConnectError) as caught:
                await wire.start_tls(ssl.create_default_context(), HOST, SOON)
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            assert wire.get_extra_info("is_readable")

    async def test_a_server_that_does_not_speak_it(self, client: ssl.SSLContext) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(PIECE)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()

        async with connected(serve) as wire:
            with pytest.raises(httpcore2.ConnectError):
                await wire.start_tls(client, HOST, SOON)

    async def test_one_that_goes_in_the_middle(self, client: ssl.SSLContext) -> None:
        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read(PIECE)

        async with connected(serve) as wire:
            with pytest.raises(httpcore2.ConnectError):
                await wire.start_tls(client, HOST, SOON)

    async def test_one_that_says_nothing(self, client: ssl.SSLContext) -> None:
        async with connected(silence) as wire:
            with pytest.raises(httpcore2.ConnectTimeout):
                await wire.start_tls(client, HOST, 0.1)
