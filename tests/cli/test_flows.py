"""`flywheel flows`: which flows there are, what servers have, whether they can be asked, and asking them."""

import json
import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from agentic_flywheel.config import Settings
from tests.support.flow_servers import FlowiseServer, LangflowServer, LfxServer
from tests.support.flow_servers.flowise import AGENT, COUNTER, LOCKED, LOCKED_AGENT, MODEL, UNKNOWN, Chatflow
from tests.support.flow_servers.langflow import COUNTS, SILENT, STREAMS
from tests.support.servers import HOST

from .command import fails, flywheel


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The settings file of this test, in the folder where commands run."""
    return tmp_path / "flywheel.toml"


def test_without_settings_there_is_the_built_in_flow() -> None:
    (line,) = flywheel("flows", "list", "--json").json
    assert (line["flow_id"], line["backend"], line["server"], line["is_default"]) == (
        "recap",
        "builtin",
        None,
        True,
    )
    assert "recap" in flywheel("flows", "list").text


def test_flows_are_listed_from_the_settings_alone(settings: Path) -> None:
    """No server is asked, no function is imported, no key is needed."""
    settings.write_text(
        """
        default_flow = "csv2507"
        [servers.studio]
        backend = "flowise"
        url = "http://127.0.0.1:1"
        key_env = "NO_SUCH_KEY"
        [flows.csv2507]
        server = "studio"
        description = "Creative orientation"
        keywords = ["vision", "tension"]
        [flows.mine]
        target = "no_such_module:answer"
        """
    )
    recap, csv2507, mine = flywheel("flows", "list", "--json").json
    assert (recap["flow_id"], recap["is_default"]) == ("recap", False)
    assert csv2507 == {
        "flow_id": "csv2507",
        "backend": "flowise",
        "server": "studio",
        "description": "Creative orientation",
        "keywords": ["vision", "tension"],
        "is_default": True,
    }
    assert (mine["flow_id"], mine["backend"], mine["server"]) == ("mine", "custom", None)
    rows = flywheel("flows", "list").text.splitlines()
    (row,) = [row for row in rows if row.startswith("csv2507")]
    assert all(
        words in row for words in ("flowise", "studio", "Creative orientation", "vision, tension", "default")
    )


def test_a_flow_of_ones_own_may_take_the_place_of_the_built_in_one(settings: Path) -> None:
    settings.write_text('[flows.recap]\ntarget = "answers:recap"\n')
    (line,) = flywheel("flows", "list", "--json").json
    assert (line["flow_id"], line["backend"]) == ("recap", "custom")


SERVERS = """\
# ours
[servers.studio]
backend = "flowise"
url = "{flowise}"
key_env = "STUDIO_KEY"

[servers.lang]
backend = "langflow"
url = "{langflow}"
key_env = "LANG_KEY"
"""


@pytest.fixture
def flowise(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlowiseServer]:
    with FlowiseServer() as server:
        monkeypatch.setenv("STUDIO_KEY", server.key)
        yield server


@pytest.fixture
def langflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangflowServer]:
    with LangflowServer() as server:
        monkeypatch.setenv("LANG_KEY", server.key)
        yield server


@pytest.fixture
def servers(settings: Path, flowise: FlowiseServer, langflow: LangflowServer) -> str:
    """Settings with two servers and no flow."""
    text = SERVERS.format(flowise=flowise.url, langflow=langflow.url)
    settings.write_text(text)
    return text


def test_what_is_discovered_can_be_pasted(servers: str, settings: Path) -> None:
    """All that is printed is TOML: with it the settings have the flows, which can be asked. Nothing is written."""
    found = flywheel("flows", "discover")
    assert found.code == 0
    assert settings.read_text() == servers
    settings.write_text(servers + found.text)
    flows = Settings.load(settings).flows
    assert {name: (flow.server, flow.flow, flow.description) for name, flow in flows.items()} == {
        "counter": ("studio", COUNTER, "counter"),
        "agent": ("studio", AGENT, "agent"),
        "locked": ("studio", LOCKED, "locked"),
        "model": ("studio", MODEL, "model"),
        "locked-agent": ("studio", LOCKED_AGENT, "locked agent"),
        "counts-turns": ("lang", COUNTS, "Answers with the number of the turn"),
        "streams": ("lang", STREAMS, "Streams"),
        "silent": ("lang", SILENT, "Silent"),
    }
    assert flywheel("flows", "check").code == 0
    assert flywheel("flows", "run", "counter", "hello").text == "turn 1: hello\n"


def test_one_server_is_asked_alone(servers: str, flowise: FlowiseServer) -> None:
    found = flywheel("flows", "discover", "lang", "--json").json
    assert found[0] == {
        "server": "lang",
        "flow": COUNTS,
        "name": "Counts turns",
        "description": "Answers with the number of the turn",
        "api": None,
        "flow_id": "counts-turns",
        "configured": False,
    }
    assert {offer["server"] for offer in found} == {"lang"}
    assert flowise.asked == []


def test_what_is_configured_already_is_marked(servers: str, settings: Path) -> None:
    """By its id or its endpoint name at the server; it keeps its own name, and its name is given to no other."""
    own = f'\n[flows.mine]\nserver = "studio"\nflow = "{COUNTER}"\n[flows.counts-turns]\nserver = "lang"\n'
    settings.write_text(f'{servers}{own}[flows.agent]\ntarget = "answers:agent"\n')
    offers = {offer["flow"]: offer for offer in flywheel("flows", "discover", "--json").json}
    assert [(offers[flow]["flow_id"], offers[flow]["configured"]) for flow in (COUNTER, AGENT, COUNTS, SILENT)] == [
        ("mine", True),
        ("agent-2", False),
        ("counts-turns", True),
        ("silent", False),
    ]
    text = flywheel("flows", "discover").text
    assert "# flows.mine is there already: counter\n" in text
    assert tomllib.loads(text)["flows"].keys() == {
        "agent-2",
        "locked",
        "model",
        "locked-agent",
        "streams",
        "silent",
    }


def test_writing_appends_what_is_not_there_yet(servers: str, settings: Path) -> None:
    """The text that was there stays as it is, to the byte; so do the file's mode, and a link to it."""
    text = servers + '\r\n[flows.mine] # by hand\nserver = "studio"\nflow = "' + COUNTER + '" # no newline'
    there = settings.with_name("elsewhere.toml")
    there.write_bytes(text.encode())
    there.chmod(0o640)
    settings.unlink()
    settings.symlink_to(there)
    written = flywheel("flows", "discover", "--write")
    assert (written.code, written.errors) == (0, "added 7 flow(s) to flywheel.toml\n")
    assert there.read_bytes().startswith(text.encode())
    assert (there.stat().st_mode & 0o777, settings.is_symlink()) == (0o640, True)
    assert list(Settings.load(settings).flows) == [
        "mine",
        "agent",
        "locked",
        "model",
        "locked-agent",
        "counts-turns",
        "streams",
        "silent",
    ]
    after = there.read_bytes()
    assert flywheel("flows", "discover", "--write").errors == "added 0 flow(s) to flywheel.toml\n"
    assert there.read_bytes() == after
    assert {path.name for path in settings.parent.iterdir()} - {"state"} == {"flywheel.toml", "elsewhere.toml"}


def test_a_file_that_cannot_be_appended_to_is_left_alone(settings: Path, flowise: FlowiseServer) -> None:
    text = f'flows = {{}}\n[servers.studio]\nbackend = "flowise"\nurl = "{flowise.url}"\nkey_env = "STUDIO_KEY"\n'
    settings.write_text(text)
    failed = flywheel("flows", "discover", "--write")
    assert failed.code == 2
    assert failed.errors.startswith("flywheel: nothing was added, since the file could not be read any more: ")
    assert settings.read_text() == text
    assert {path.name for path in settings.parent.iterdir()} - {"state"} == {"flywheel.toml"}
    assert COUNTER in failed.text


def test_what_a_server_calls_its_flows_does_no_harm(settings: Path, flowise: FlowiseServer) -> None:
    """Any name makes a table that can be pasted, one line each, under a name of its own that can be typed."""
    settings.write_text(f'[servers.studio]\nbackend = "flowise"\nurl = "{flowise.url}"\nkey_env = "STUDIO_KEY"\n')
    names = ['"]\n[store]\nurl = "x', "\x1b[2J\x7f\\", "Recap", "Über  uns", "日本", "日本語", "x" * 999, ""]
    flowise.flows = [Chatflow(str(UUID(int=number)), name) for number, name in enumerate(names)]
    written = flywheel("flows", "discover", "--write")
    assert written.code == 0, written.errors
    assert "\x1b" not in written.text
    loaded = Settings.load(settings)
    assert loaded.store.url is None
    assert list(loaded.flows) == ["store-url-x", "2j", "recap-2", "uber-uns", "flow", "flow-2", "x" * 40, "flow-3"]
    assert loaded.flows["uber-uns"].description == "Über uns"
    assert len(loaded.flows["x" * 40].description) == 300


def test_flows_of_lfx_are_discovered_with_their_interface(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lfx serve` speaks only one of Langflow's two: the table says so, and the flow can be asked."""
    with LfxServer() as lfx:
        monkeypatch.setenv("LFX_KEY", lfx.key)
        settings.write_text(f'[servers.lfx]\nbackend = "langflow"\nurl = "{lfx.url}"\nkey_env = "LFX_KEY"\n')
        assert flywheel("flows", "discover", "--write").code == 0
        assert Settings.load(settings).flows["chat"].api == "workflow"
        assert flywheel("flows", "check").code == 0
        assert flywheel("flows", "run", "chat", "hello").text == "heard: hello\n"


def test_a_server_that_cannot_be_asked_hides_none_of_the_others(
    servers: str, flowise: FlowiseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowise.kill()
    found = flywheel("flows", "discover")
    assert found.code == 1
    assert tomllib.loads(found.text)["flows"].keys() == {"counts-turns", "streams", "silent"}
    (line,) = found.errors.splitlines()
    assert "'studio'" in line
    assert "cannot be reached" in line
    monkeypatch.delenv("LANG_KEY")
    assert "LANG_KEY" in fails(1, "flows", "discover", "lang")


def test_a_server_that_is_not_configured_is_said_in_a_line(settings: Path, servers: str) -> None:
    assert "there are studio, lang" in fails(2, "flows", "discover", "studoi")
    settings.write_text("")
    assert "[servers.NAME]" in fails(2, "flows", "discover")


def test_checking_says_of_each_flow_whether_it_can_be_asked(
    servers: str, settings: Path, flowise: FlowiseServer, langflow: LangflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each, exit code 1 if one cannot. No flow is run."""
    settings.write_text(
        f"{servers}"
        f'[flows.good]\nserver = "studio"\nflow = "{COUNTER}"\n'
        f'[flows.counts-turns]\nserver = "lang"\n'
        f'[flows.gone]\nserver = "studio"\nflow = "{UNKNOWN}"\n'
    )
    checked = flywheel("flows", "check")
    lines = {line.split()[1]: line for line in checked.text.splitlines()}
    assert {flow.rstrip(":"): line.split()[0] for flow, line in lines.items()} == {
        "recap": "ok",
        "good": "ok",
        "counts-turns": "ok",
        "gone": "problem",
    }
    assert "no such flow" in lines["gone:"]
    assert checked.code == 1
    assert flywheel("flows", "check", "good", "counts-turns").code == 0
    assert "did you mean 'good'" in fails(2, "flows", "check", "god")
    monkeypatch.setenv("LANG_KEY", "wrong-key-0123")
    monkeypatch.delenv("STUDIO_KEY")
    checked = flywheel("flows", "check", "good", "counts-turns")
    good, counts = checked.text.splitlines()
    assert "STUDIO_KEY" in good
    assert "refuses the key" in counts
    assert "servers.lang.key_env" in counts
    assert "wrong-key-0123" not in checked.text + checked.errors
    assert flowise.runs() + langflow.runs() == []


def test_checking_does_not_wait_for_ever(settings: Path) -> None:
    """A server that accepts and says nothing is given up, after the flow's own time-out if that is short."""
    with socket.create_server((HOST, 0)) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        settings.write_text(
            f'[servers.studio]\nbackend = "flowise"\nurl = "{url}"\n'
            f'[flows.mute]\nserver = "studio"\nflow = "{COUNTER}"\ntimeout = 0.2\n'
        )
        checked = flywheel("flows", "check", "mute")
    assert (checked.code, checked.text) == (1, "problem mute: its server did not answer within 0.2 s\n")


def test_asking_prints_the_answer_alone(servers: str, settings: Path) -> None:
    """So that it can be piped. The handle goes to stderr, and the conversation goes on with it."""
    settings.write_text(f'{servers}[flows.csv2507]\nserver = "studio"\nflow = "{COUNTER}"\n')
    first = flywheel("flows", "run", "csv2507", "hello")
    assert (first.code, first.text) == (0, "turn 1: hello\n")
    (line,) = first.errors.splitlines()
    word, session_id = line.split()
    assert word == "session"
    second = flywheel("flows", "run", "and again", "--session", session_id)
    assert (second.text, second.errors) == ("turn 2: and again\n", first.errors)
    shown = flywheel("sessions", "show", session_id, "--json").json
    assert [(turn["question"], turn["flow_id"]) for turn in shown["history"]] == [
        ("hello", "csv2507"),
        ("and again", "csv2507"),
    ]


def test_an_answer_for_programs(servers: str, settings: Path) -> None:
    settings.write_text(f'{servers}[flows.csv2507]\nserver = "studio"\nflow = "{COUNTER}"\n')
    reply = flywheel("flows", "run", "csv2507", "hello", "--json").json
    assert (reply["text"], reply["flow_id"], reply["repeated"]) == ("turn 1: hello", "csv2507", False)
    assert reply["saved"]["outcome"] == "stored"
    assert flywheel("sessions", "show", reply["session_id"], "--json").json["history"][0]["id"] == reply["turn_id"]


def test_parameters_are_json_or_else_text(servers: str, settings: Path, flowise: FlowiseServer) -> None:
    settings.write_text(f'{servers}[flows.csv2507]\nserver = "studio"\nflow = "{COUNTER}"\n')
    given = ("temperature=0.2", "tone=calm", 'vars={"a": [1]}', 'number="7"', "empty=", "sum=1+1=2")
    options = [word for each in given for word in ("--param", each)]
    assert flywheel("flows", "run", "csv2507", "hello", *options).code == 0
    (run,) = flowise.runs()
    override = json.loads(run.body)["overrideConfig"]
    assert {name: override[name] for name in ("temperature", "tone", "vars", "number", "empty", "sum")} == {
        "temperature": 0.2,
        "tone": "calm",
        "vars": {"a": [1]},
        "number": "7",
        "empty": "",
        "sum": "1+1=2",
    }
    for wrong in ("tone", "=calm"):
        assert "NAME=VALUE" in fails(2, "flows", "run", "csv2507", "hello", "--param", wrong)
    assert len(flowise.runs()) == 1


def test_a_streamed_answer_is_the_same_answer(servers: str, settings: Path, flowise: FlowiseServer) -> None:
    settings.write_text(f'{servers}[flows.model]\nserver = "studio"\nflow = "{MODEL}"\nstream = true\n')
    streamed = flywheel("flows", "run", "model", "hello there", "--stream")
    assert (streamed.code, streamed.text) == (0, "turn 1: hello there\n")
    assert flywheel("flows", "run", "model", "hello there").text == streamed.text
    assert [json.loads(run.body)["streaming"] for run in flowise.runs()] == [True, False]
    assert flywheel("flows", "run", "recap", "hello there", "--stream").code == 0


def test_an_answer_does_nothing_to_a_terminal(servers: str, settings: Path) -> None:
    """There, control characters are shown as such; a pipe gets every byte."""
    settings.write_text(f'{servers}[flows.csv2507]\nserver = "studio"\nflow = "{COUNTER}"\n')
    assert flywheel("flows", "run", "csv2507", "\x1b[2Jhi").raw == b"turn 1: \x1b[2Jhi\n"
    reading, terminal = os.openpty()
    command = [sys.executable, "-m", "agentic_flywheel.cli", "flows", "run", "csv2507", "\x1b[2Jhi"]
    with os.fdopen(reading, "rb") as screen:
        subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, check=True)
        os.write(terminal, b"END")
        os.close(terminal)
        shown = screen.read1(10_000).partition(b"END")[0].decode()
    assert shown == "turn 1: \N{REPLACEMENT CHARACTER}[2Jhi\r\n"


def test_a_question_that_is_not_answered_is_said_in_a_line(
    servers: str, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit code 1; what was asked for wrongly with 2."""
    settings.write_text(f'{servers}[flows.csv2507]\nserver = "studio"\nflow = "{COUNTER}"\n')
    assert "'csv2507' failed" in fails(1, "flows", "run", "csv2507", "boom")
    monkeypatch.delenv("STUDIO_KEY")
    assert "STUDIO_KEY" in fails(1, "flows", "run", "csv2507", "hello")
    assert "did you mean 'csv2507'" in fails(2, "flows", "run", "csv", "hello")
    assert "no session" in fails(1, "flows", "run", "hello", "--session", "nowhere")
    assert "quotes" in fails(2, "flows", "run", "csv2507", "two", "words")
    assert "QUESTION" in fails(2, "flows", "run")


def test_the_doctor_says_whether_the_keys_are_there(
    servers: str, settings: Path, flowise: FlowiseServer, langflow: LangflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each flow on a server, and without asking one."""
    settings.write_text(f'{servers}[flows.csv2507]\nserver = "studio"\n[flows.chat]\nserver = "lang"\n')
    report = flywheel("doctor", "--json")
    says = {finding["about"]: (finding["level"], finding["says"]) for finding in report.json["findings"]}
    assert report.code == 0
    assert says["flow csv2507"] == ("ok", f"on server studio at {flowise.url}, STUDIO_KEY is set")
    monkeypatch.delenv("LANG_KEY")
    report = flywheel("doctor", "--json")
    says = {finding["about"]: (finding["level"], finding["says"]) for finding in report.json["findings"]}
    assert (report.code, says["flow csv2507"][0], says["flow chat"][0]) == (1, "ok", "problem")
    assert "LANG_KEY" in says["flow chat"][1]
    assert says["extra flows"][0] == "ok"
    assert flowise.asked + langflow.asked == []
    assert flowise.key not in str(report.json)
