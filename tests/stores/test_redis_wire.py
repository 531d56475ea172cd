"""A connection to Redis: each answer belongs to its question, or there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hiredis import pack_command
from redis import exceptions as redis_errors

from agentic_flywheel.errors import Unavailable
from agentic_flywheel.stores.redis_client import Connection, connections, open_connection
from agentic_flywheel.stores.redis_lane import Lane
from agentic_flywheel.stores.redis_pipe import Pipe
from agentic_flywheel.stores.redis_wire import Wire
from tests.support.proxy import Proxy
from tests.support.servers import Server

BROKEN = [redis_errors.InvalidResponse, redis_errors.ConnectionError]


@pytest.fixture
async def proxy(redis_server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(redis_server.port) as made:
        yield made


@pytest.fixture
async def connection(proxy: Proxy) -> AsyncIterator[Connection]:
    made = connections(proxy.url)()
    await open_connection(made)
    yield made
    await made.disconnect()


async def ask(wire: Wire, *commands: tuple[str | bytes, ...]) -> list[object]:
    packed = b"".join(pack_command(command) for command in commands)  # type: ignore[arg-type]  # its stub is wrong
    return await wire.ask(packed, len(commands))


async def test_answers_come_in_order(connection: Connection) -> None:
    wire = Wire(connection)
    assert await ask(wire, ("PING",), ("ECHO", "a"), ("ECHO", b"\x00\xff")) == [b"PONG", b"a", b"\x00\xff"]
    assert await ask(wire, ("ECHO", "b")) == [b"b"]


async def test_an_answer_of_many_pieces(connection: Connection) -> None:
    wire, large = Wire(connection), b"x" * 3_000_000
    assert await ask(wire, ("ECHO", large), ("PING",)) == [large, b"PONG"]


async def test_what_failed_is_answered_by_its_exception(connection: Connection) -> None:
    """The others are answered all the same."""
    refused, answer = await ask(Wire(connection), ("EVALSHA", "0" * 40, "0"), ("PING",))
    assert isinstance(refused, redis_errors.NoScriptError)
    assert answer == b"PONG"


@pytest.mark.parametrize("fault", ["garble_answer", "repeat_answer", "halve_answer", "cut_answer"])
async def test_what_is_no_answer_ends_the_connection(proxy: Proxy, connection: Connection, fault: str) -> None:
    """After it nothing could be told to belong to any question."""
    wire = Wire(connection)
    getattr(proxy, fault)(of=b"ECHO")
    with suppress(*BROKEN):
        await ask(wire, ("ECHO", "mine"))
    with suppress(*BROKEN):
        await ask(wire, ("PING",))  # an answer that came twice comes after the first
    assert not wire.is_open


@pytest.mark.parametrize("fault", ["garble_answer", "repeat_answer", "halve_answer", "cut_answer"])
async def test_nobody_gets_another_s_answer(proxy: Proxy, fault: str) -> None:
    """The next question is asked on a new connection."""
    pipe = Pipe(connections(proxy.url), lanes=1)
    await pipe.one("PING")
    getattr(proxy, fault)(3, of=b"mine")
    for _ in range(3):
        with suppress(Unavailable):
            assert await pipe.one("ECHO", "mine") == b"mine"
        assert await pipe.one("ECHO", "other") == b"other"
    await pipe.close()


async def test_a_caller_who_gives_up_leaves_no_answer_behind(proxy: Proxy) -> None:
    lane = Lane(connections(proxy.url))
    await lane.exchange([("PING",)])
    proxy.delay(0.2)
    asked = asyncio.create_task(lane.exchange([("ECHO", "mine")]))
    while not any(b"mine" in request for request in proxy.requests):  # noqa: ASYNC110  # the proxy has no event
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    proxy.delay(0)
    assert await lane.exchange([("ECHO", "other")]) == [b"other"]
    await lane.close()


async def test_a_caller_who_gives_up_in_the_middle_of_a_question(own_server: Server) -> None:
    """What was not sent by then is not sent later, and the connection does not wait for that."""
    lane = Lane(connections(own_server.url))
    await lane.exchange([("PING",)])
    own_server.pause()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await lane.exchange([("SET", "mine", b"x" * 50_000_000)])
    own_server.resume()
    assert await lane.exchange([("ECHO", "other"), ("EXISTS", "mine")]) == [b"other", 0]
    await asyncio.sleep(0.2)
    (clients, exists) = await lane.exchange([("CLIENT", "LIST"), ("EXISTS", "mine")])
    assert (clients.count(b"id="), exists) == (1, 0)
    await lane.close()


async def test_closing_waits_for_the_end(connection: Connection) -> None:
    """The library, which closes it, hears of the end although it is the wire that is told."""
    wire = Wire(connection)
    async with asyncio.timeout(10):
        await connection.disconnect()
    assert not wire.is_open


async def test_nothing_to_ask(proxy: Proxy) -> None:
    assert await Pipe(connections(proxy.url)).run([]) == []
    assert proxy.connections == 0
