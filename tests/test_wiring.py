"""Concrete parts are picked from settings: here flows and the servers that they run on."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentic_flywheel import UniversalSession
from agentic_flywheel.backends import Answer, Flow, FlowRegistry, Question
from agentic_flywheel.backends.flowise import FlowiseFlow
from agentic_flywheel.config import FlowSettings, ServerSettings, Settings
from agentic_flywheel.errors import FlowFailed
from agentic_flywheel.wiring import discover, open_flows
from tests.support.flow_servers import FlowiseServer
from tests.support.flow_servers.flowise import AGENT, COUNTER
from tests.support.servers import HOST

SETTINGS = """
[servers.studio]
backend = "flowise"
url = "http://127.0.0.1:1"
key_env = "STUDIO_KEY"

[servers.local]
backend = "langflow"
url = "http://127.0.0.1:2"

[flows.csv2507]
server = "studio"
description = "Creative orientation"
keywords = ["vision", "tension"]
timeout = 5.0
idempotent = true
ttl = { execution = 60, history = 0 }
replay_turns = 3
replay_bytes = 1000

[flows.chat]
server = "local"

[flows.mine]
target = "tests.support.flows:echo"
keywords = ["echo"]
turns = -1
idempotent = true
ttl = { execution = 7 }
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "flywheel.toml"
    file.write_text(SETTINGS)
    return Settings.load(file, {})


def test_flows_are_what_their_settings_say(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_KEY", "pa55word")
    flows = open_flows(settings)
    assert [(flow.id, flow.backend) for flow in flows] == [
        ("recap", "builtin"),
        ("csv2507", "flowise"),
        ("chat", "langflow"),
        ("mine", "custom"),
    ]
    csv2507, chat, mine = (flows.get(name) for name in ("csv2507", "chat", "mine"))
    assert (csv2507.description, csv2507.keywords) == ("Creative orientation", ("vision", "tension"))
    assert (csv2507.timeout, csv2507.idempotent) == (5.0, True)
    assert (csv2507.execution_ttl, csv2507.history_ttl) == (60, 0)
    assert (csv2507.replay_turns, csv2507.replay_bytes) == (3, 1000)
    assert (chat.timeout, chat.idempotent, chat.keywords) == (120.0, False, ())
    assert (chat.execution_ttl, chat.history_ttl) == (None, None)
    assert mine.turns is None
    assert (mine.keywords, mine.idempotent, mine.execution_ttl, mine.history_ttl) == (("echo",), True, 7, None)


@pytest.mark.parametrize("value", [None, "", "\N{KEY}"])
async def test_a_key_that_cannot_be_used_stops_its_flows_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """They are there, and say when they are asked which setting to look at; the others are asked as ever."""
    if value is None:
        monkeypatch.delenv("STUDIO_KEY", raising=False)
    else:
        monkeypatch.setenv("STUDIO_KEY", value)
    flows = open_flows(settings)
    csv2507 = flows.get("csv2507")
    assert (csv2507.backend, csv2507.description, csv2507.execution_ttl) == ("flowise", "Creative orientation", 60)
    question = Question("anything?", UniversalSession(backend="flowise"))
    for attempt in (csv2507.ask(question), csv2507.check()):
        with pytest.raises(FlowFailed, match=r"flow 'csv2507' was not asked: .*servers\.studio\.key_env") as caught:
            await attempt
        assert "\N{KEY}" not in str(caught.value)
    assert (await flows.get("mine").ask(question)).text
    with pytest.raises(Exception, match=r"servers\.studio\.key_env"):
        await discover(settings, "studio")


async def test_flows_of_one_server_share_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked on one pool; after these were closed, the next use opens others."""
    with FlowiseServer() as served:
        monkeypatch.setenv("STUDIO_KEY", served.key)
        settings = Settings(
            servers={"studio": ServerSettings("flowise", served.url, "STUDIO_KEY")},
            flows={
                "a": FlowSettings(server="studio", flow=COUNTER),
                "b": FlowSettings(server="studio", flow=AGENT),
            },
        )
        flows = open_flows(settings)
        one, other = flows.get("a"), flows.get("b")
        assert isinstance(one, FlowiseFlow)
        assert isinstance(other, FlowiseFlow)
        assert one.server is other.server
        for _ in range(2):
            assert (await one.check(), await other.check()) == (
                f"counter on {served.url}",
                f"agent on {served.url}",
            )
            await flows.close()


async def test_discovery_does_not_wait_for_ever() -> None:
    """A server that accepts and says nothing is given up."""
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        settings = Settings(servers={"studio": ServerSettings("flowise", url)})
        with pytest.raises(FlowFailed, match=f"server 'studio' at {url} did not answer within 0.1 s"):
            await discover(settings, "studio", seconds=0.1)


WITHOUT_THE_CLIENT = """
import sys
sys.modules["httpx2"] = sys.modules["httpcore2"] = None
from agentic_flywheel.config import FlowSettings, ServerSettings, Settings
from agentic_flywheel.errors import MissingExtra
from agentic_flywheel.wiring import open_flows
here = FlowSettings(target="tests.support.flows:echo")
there = FlowSettings(server="studio")
servers = {"studio": ServerSettings("flowise", "http://127.0.0.1:1")}
print([flow.id for flow in open_flows(Settings(servers=servers, flows={"here": here}))])
try:
    open_flows(Settings(servers=servers, flows={"there": there}))
except MissingExtra as error:
    print(error.extra, error)
"""


def test_only_flows_on_a_server_need_the_http_client() -> None:
    """Without it, settings without such flows can be used; for others, the error names it."""
    run: Any = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_CLIENT], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [
        "['recap', 'here']",
        "flows asking flows on a server needs an optional package: pip install 'agentic-flywheel[flows]'",
    ]


class Closing(Flow):
    """A flow whose connections may fail to close."""

    backend = "custom"

    def __init__(self, id: str, *, fails: bool = False) -> None:
        super().__init__(id)
        self.closed = False
        self._fails = fails

    async def ask(self, question: Question) -> Answer:
        return Answer(question.text)

    async def close(self) -> None:
        if self._fails:
            raise OSError("it does not close")
        self.closed = True


async def test_closing_closes_all() -> None:
    """One flow that fails at it keeps none of the others open, and is told."""
    flows = [Closing("a"), Closing("b", fails=True), Closing("c")]
    with pytest.raises(OSError, match="does not close"):
        await FlowRegistry(flows, "a").close()
    assert [flow.closed for flow in flows] == [True, False, True]
