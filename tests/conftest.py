"""What every test can ask for: real servers, and a machine without settings of its own."""

import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NoReturn, TypeVar, cast

import pytest
from hypothesis import settings

from tests.stores.worlds import RedisWorld, World, opened, world_of
from tests.support import replicated, servers
from tests.support.coaia import Coaia
from tests.support.flow_servers import KEY, FlowiseServer, LangflowServer
from tests.support.replicated import Cluster, Sentinels
from tests.support.servers import Kind, Server, ServerMissingError

T = TypeVar("T")

settings.register_profile("house", deadline=None)  # no test asserts how long something takes
settings.load_profile("house")

_NOT_RUN = "not run"
_LACKING = "no server: "
_database_numbers = count()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may reach the Redis, or write into the folders, of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("FLYWHEEL_", "REDIS_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def flowise() -> Iterator[FlowiseServer]:
    """A small Flowise."""
    with FlowiseServer(key=KEY) as server:
        yield server


@pytest.fixture
def langflow() -> Iterator[LangflowServer]:
    """A small Langflow."""
    with LangflowServer(key=KEY) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    """A Valkey for all tests of the session. Take `own_server` to kill or reconfigure one."""
    with start_or_report("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A Redis for all tests of the session. Take `own_server` to kill or reconfigure one."""
    with start_or_report("redis-server") as server:
        yield server


@pytest.fixture(scope="session", params=["valkey", "redis-server"])
def kv_kind(request: pytest.FixtureRequest) -> Kind:
    """The kinds of server that the test runs on, one after the other."""
    return cast(Kind, request.param)


@pytest.fixture(scope="session")
def kv_server(kv_kind: Kind, request: pytest.FixtureRequest) -> Server:
    """The session's server of either kind."""
    name = "valkey_server" if kv_kind == "valkey" else "redis_server"
    return cast(Server, request.getfixturevalue(name))


@pytest.fixture
def kv_url(kv_server: Server) -> str:
    """An empty database on the session's server, for this test alone."""
    return f"{kv_server.url}/{next(_database_numbers)}"


@pytest.fixture
def own_server(kv_kind: Kind) -> Iterator[Server]:
    """A server of either kind for this test alone, to be killed; it keeps all it acknowledged."""
    with start_or_report(kv_kind, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis-server", "valkey"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A store of each kind, empty, and what is around it."""

    def alone(server: str) -> str:
        return f"{request.getfixturevalue(server).url}/{next(_database_numbers)}"

    async with opened(world_of(request.param, tmp_path, alone)) as made:
        yield made


@pytest.fixture
async def redis_world(kv_url: str) -> AsyncIterator[RedisWorld]:
    """A Redis store on each kind of server, alone in its database."""
    made = RedisWorld(kv_url)
    async with opened(made):
        yield made


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """A cluster of six for all tests of the session; whoever kills a server starts it again."""
    with _or_fail(replicated.cluster()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_sentinels() -> Iterator[Sentinels]:
    """A primary with replicas and sentinels for all tests of the session; killed servers are started again."""
    with _or_fail(replicated.sentinels()) as sentinels:
        yield sentinels


@contextmanager
def _or_fail(servers: AbstractContextManager[T]) -> Iterator[T]:
    """The servers; what they need and is not installed fails the test."""
    with ExitStack() as stack:
        try:
            started = stack.enter_context(servers)
        except ServerMissingError as missing:
            pytest.fail(str(missing), pytrace=False)
        yield started


@pytest.fixture
def coaia(own_server: Server) -> Coaia:
    """The `coaia` program on the test's own server."""
    try:
        return Coaia.on(own_server)
    except ServerMissingError as missing:
        report(missing)


def start_or_report(kind: Kind, *arguments: str) -> Server:
    """A server for a `with` statement. Where there is none the test counts as not run; in CI it fails."""
    try:
        return servers.start(kind, *arguments)
    except ServerMissingError as missing:
        report(missing)


def report(missing: ServerMissingError) -> NoReturn:
    """Let the test count as not run; in CI let it fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{missing} In CI every test has to run.", pytrace=False)
    pytest.skip(f"{_LACKING}{missing}")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count a test that lacks its server apart from the skipped ones, up to the last line of the run."""
    return (_NOT_RUN, "N", "NOT RUN") if _lacking(report) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name at the end what could not be run for lack of a server, and how to get one."""
    files: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for report in terminalreporter.getreports(_NOT_RUN):
        files[_lacking(report)][report.nodeid.partition("::")[0]] += 1
    if not files:
        return
    terminalreporter.section("NOT RUN for lack of a server", yellow=True)
    for reason, tests in sorted(files.items()):
        terminalreporter.line(f"{tests.total()} tests not run: {reason}")
        for file, number in sorted(tests.items()):
            terminalreporter.line(f"    {number:4} in {file}")


def _lacking(report: pytest.TestReport) -> str:
    """Why the test lacked a server; empty if it did not."""
    # A skip reads (file, line, "Skipped: reason"), here as well as when it comes from a parallel worker.
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].partition(_LACKING)[2]
    return ""
