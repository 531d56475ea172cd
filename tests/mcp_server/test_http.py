"""Serving over HTTP: both eras, who may reach it, what is too much, and how it ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from agentic_flywheel.config import HttpSettings
from agentic_flywheel.errors import ConfigError
from agentic_flywheel.mcp_server.listening import allowed_hosts, is_loopback, listen
from agentic_flywheel.mcp_server.tokens import new_token
from tests.cli.command import fails
from tests.support.http_server import HttpServer, client_of, get, post, result_of
from tests.support.servers import HOST, free_port

from .conftest import SETTINGS

LARGE = 100 * 1024**2
BODY_LIMIT = 4 * 1024**2
EVERYWHERE = "0.0.0.0"  # noqa: S104  # to be refused, or with a token only


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """A server on SQLite for those tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("served")
    settings = folder / "flywheel.toml"
    settings.write_text(SETTINGS)
    with HttpServer(folder, {"FLYWHEEL_CONFIG": str(settings), "FLYWHEEL_STATE_DIR": str(folder)}) as server:
        yield server


async def test_each_era_is_served(served: HttpServer, mode: str) -> None:
    """The tools are those of the server over stdio, and a conversation goes on from call to call."""
    async with client_of(served.url, mode) as client:
        assert (client.protocol_version == "2026-07-28") == (mode == "auto")
        begun = await result_of(client, "run_flow", question="remember a: 1")
        await result_of(client, "run_flow", question="remember b: 2", session_id=begun["session_id"])
    async with client_of(served.url, mode) as client:
        view = await result_of(client, "resume_session", session_id=begun["session_id"])
    assert (view["turns"], view["context"]) == (2, {"a": "1", "b": "2"})


async def test_no_request_depends_on_an_earlier_one(served: HttpServer) -> None:
    """Not in the older era either: no session id is given out that another process would not know."""
    answer = await post(served.url)
    assert answer.status_code == httpx2.codes.OK
    assert "mcp-session-id" not in answer.headers


async def test_a_killed_server_that_is_started_again_goes_on(
    environ: dict[str, str], tmp_path: Path, mode: str
) -> None:
    with HttpServer(tmp_path, environ) as server:
        async with client_of(server.url, mode) as client:
            begun = await result_of(client, "run_flow", question="remember room: B-1")
            server.kill()
            server.start()
            reply = await result_of(client, "run_flow", question="what room?", session_id=begun["session_id"])
    assert "B-1" in reply["response"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil:1"])
async def test_a_request_for_another_host_is_refused(served: HttpServer, host: str) -> None:
    """As a page of an attacker sends it, whose name was made to mean this machine."""
    assert (await post(served.url, Host=host)).status_code == httpx2.codes.MISDIRECTED_REQUEST
    assert (await get(f"{served.base}/metrics", Host=host)).status_code == httpx2.codes.MISDIRECTED_REQUEST
    origin = f"http://{host}"
    assert (await post(served.url, Origin=origin)).status_code == httpx2.codes.FORBIDDEN
    assert (await post(served.url, Host="localhost")).status_code == httpx2.codes.OK


async def test_a_large_body_is_refused_unread(served: HttpServer) -> None:
    """The answer comes before a byte of it was sent, where its length is declared."""
    reader, writer = await asyncio.open_connection(HOST, served.port)
    writer.write(_head(served, f"Content-Length: {LARGE}"))
    status = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    assert b" 413 " in status


async def test_a_large_body_of_unknown_length_is_refused(served: HttpServer) -> None:
    """It is not read to its end, and the server's memory does not grow by it."""
    before = _greatest_memory(served.pid)
    reader, writer = await asyncio.open_connection(HOST, served.port)
    writer.write(_head(served, "Transfer-Encoding: chunked"))
    answer = asyncio.create_task(reader.readline())
    sent = await _send_chunks(writer, answer)
    assert b" 413 " in await asyncio.wait_for(answer, 20)
    writer.close()
    assert sent < LARGE / 2
    assert _greatest_memory(served.pid) - before < 10 * BODY_LIMIT
    assert (await post(served.url)).status_code == httpx2.codes.OK


def _head(served: HttpServer, length: str) -> bytes:
    lines = ("POST /mcp HTTP/1.1", f"Host: {HOST}:{served.port}", "Content-Type: application/json", length, "", "")
    return "\r\n".join(lines).encode()


async def _send_chunks(writer: asyncio.StreamWriter, answer: asyncio.Task[bytes]) -> int:
    """Send a body until it is answered, or all of it; how many bytes were sent."""
    chunk, sent = b"x" * 65536, 0
    while sent < LARGE and not answer.done():
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        try:
            await writer.drain()
        except ConnectionError:
            break
        sent += len(chunk)
        await asyncio.sleep(0)
    return sent


def _greatest_memory(pid: int) -> int:
    """The greatest size that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def settings_for(folder: Path, text: str) -> list[str]:
    """The options that name a settings file with this text."""
    file = folder / "http.toml"
    file.write_text(text)
    return ["--config", str(file)]


def add_settings(environ: dict[str, str], text: str) -> None:
    """Put more into the settings file that the variables name."""
    with Path(environ["FLYWHEEL_CONFIG"]).open("a") as file:
        file.write(text)


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.1", "nowhere.invalid"])
def test_it_does_not_listen_for_others_without_authentication(host: str) -> None:
    """The message says what to set; also for a name that is the name of nothing."""
    message = fails(2, "mcp", "--http", "--host", host, "--port", str(free_port()))
    assert "http.auth.tokens_file" in message
    assert "http.auth.issuer" in message


def test_what_loopback_is() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.9.1", "localhost", "::1"))
    assert not any(is_loopback(host) for host in ("", EVERYWHERE, "::", "192.0.2.1", "nowhere.invalid"))


def test_listening_everywhere_needs_names(tmp_path: Path) -> None:
    """Else no request could be told from one of an attacker's page."""
    table = tmp_path / "tokens"
    table.write_text(new_token("anna")[1])
    given = settings_for(tmp_path, f'[http]\nhost = "0.0.0.0"\n[http.auth]\ntokens_file = "{table}"\n')
    assert "http.allowed_hosts" in fails(2, *given, "mcp", "--http", "--port", str(free_port()))


def test_the_names_by_which_it_may_be_called() -> None:
    everywhere = HttpSettings(
        host=EVERYWHERE, allowed_hosts=("a.example", "b.example:81"), url="https://c.example/mcp"
    )
    hosts = allowed_hosts(everywhere)
    assert {"a.example", "a.example:*", "b.example:81", "c.example", "c.example:*", "localhost:*"} <= set(hosts)
    assert "b.example:*" not in hosts
    assert {"[::1]", "[::1]:*"} <= set(allowed_hosts(HttpSettings(host="::1")))


async def test_with_authentication_it_listens_for_others(environ: dict[str, str], tmp_path: Path) -> None:
    token, line = new_token("anna")
    add_settings(environ, '[http]\nallowed_hosts = ["flywheel.example"]\n')
    with HttpServer(tmp_path, {**environ, "FLYWHEEL_TOKENS": line}, host=EVERYWHERE) as server:
        good = await post(server.url, token, Host="flywheel.example")
        attacked = await post(server.url, token, Host="evil.example")
    assert (good.status_code, attacked.status_code) == (httpx2.codes.OK, httpx2.codes.MISDIRECTED_REQUEST)


def test_a_port_that_is_taken_is_said_in_a_line(served: HttpServer) -> None:
    message = fails(2, "mcp", "--http", "--port", str(served.port))
    assert str(served.port) in message
    assert "--port" in message


def test_an_address_of_another_machine_is_said_in_a_line() -> None:
    with pytest.raises(ConfigError, match="no such address"):
        listen("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="name of no address"):
        listen("nowhere.invalid", 0)


async def test_answers_are_sent_at_once() -> None:
    """Not only when the client has acknowledged their first part: that takes 40 ms on a connection that is kept."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    with listen(HOST, 0) as listener:
        server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=listener)
        _, ours = await asyncio.open_connection(*listener.getsockname())
        theirs = await accepted
        assert theirs.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for writer in (ours, theirs):
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()


def test_bad_settings_are_said_in_a_line(tmp_path: Path) -> None:
    for text, says in (
        ("[http]\nport = 70000", "http.port"),
        ("[http]\nmax_body_bytes = 0", "http.max_body_bytes"),
        ("[http]\nposrt = 1", "posrt"),
    ):
        assert says in fails(2, *settings_for(tmp_path, text), "mcp", "--http")
    for option in ("--host", "--port"):
        assert "--http" in fails(2, "mcp", option, "1")


@asynccontextmanager
async def callers() -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """A port that the flow `wait` calls; whether it has called; what lets it go."""
    called, hang_up = asyncio.Event(), asyncio.Event()

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await hang_up.wait()
        writer.close()

    listener = await asyncio.start_server(take, HOST, 0)
    try:
        yield listener.sockets[0].getsockname()[1], called, hang_up
    finally:
        hang_up.set()
        listener.close()


async def _refuses(server: HttpServer) -> None:
    """Return when nobody is let in any more."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, server.port)):
                return
        await asyncio.sleep(0.02)


async def test_running_calls_finish_when_it_is_stopped(environ: dict[str, str], tmp_path: Path, mode: str) -> None:
    """New ones are refused meanwhile; the turn is on record, and the exit code says that all is well."""
    question: dict[str, Any] = {"flow_id": "wait", "request_key": uuid4().hex}
    with HttpServer(tmp_path, environ) as server:
        async with callers() as (port, called, hang_up), client_of(server.url, mode) as client:
            begun = await result_of(client, "create_session")
            question |= {"question": str(port), "session_id": begun["session_id"]}
            call = asyncio.create_task(result_of(client, "run_flow", **question))
            await called.wait()
            server.terminate()
            await asyncio.wait_for(_refuses(server), 20)
            hang_up.set()
            reply = await call
        assert await asyncio.to_thread(server.wait) == 0
        server.start()
        async with client_of(server.url, mode) as client:
            view = await result_of(client, "resume_session", session_id=begun["session_id"])
    assert reply["response"] == "nobody waits any more"
    assert [turn["id"] for turn in view["last_turns"]] == [reply["turn_id"]]


async def test_a_call_that_does_not_end_does_not_keep_it(
    environ: dict[str, str], tmp_path: Path, mode: str
) -> None:
    """After http.stop_seconds it ends all the same."""
    add_settings(environ, "[http]\nstop_seconds = 1\n")
    with HttpServer(tmp_path, environ) as server:
        async with callers() as (port, called, _), client_of(server.url, mode) as client:
            call = asyncio.create_task(client.call_tool("run_flow", {"question": str(port), "flow_id": "wait"}))
            await called.wait()
            server.terminate()
            assert await asyncio.to_thread(server.wait) == 0
            call.cancel()
            await asyncio.wait((call,))
