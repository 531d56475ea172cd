"""What holds for all commands, and `flywheel doctor`, `mcp` and `demo`."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from agentic_flywheel import SessionManager, __version__
from agentic_flywheel.stores.redis_store import RedisStore
from tests.support.servers import HOST, Server, free_port

from .command import Ended, fails, flywheel
from .conftest import conversation, plant, store


def levels(report: Ended) -> dict[str, str]:
    """What the doctor thinks of each thing."""
    return {finding["about"]: finding["level"] for finding in report.json["findings"]}


def sources(report: Ended) -> dict[str, tuple[object, str]]:
    """Each setting with where it comes from."""
    return {setting["name"]: (setting["value"], setting["source"]) for setting in report.json["settings"]}


def test_help_and_version() -> None:
    assert flywheel("--version").text == f"flywheel {__version__}\n"
    for arguments in ((), ("--help",)):
        text = flywheel(*arguments).text
        assert all(command in text for command in ("demo", "mcp", "sessions", "doctor"))
    assert "--redis" in flywheel("demo", "--help").text
    assert "copy" in flywheel("sessions", "--help").text


def test_bad_settings_are_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By every command, with exit code 2."""
    settings = tmp_path / "bad.toml"
    for text, says in (("[store", "not TOML"), ("[store]\nurll = 1", "urll"), ("[ttl]\nsession = -1", "session")):
        settings.write_text(text)
        for command in (["sessions", "list"], ["doctor"], ["mcp"], ["demo"]):
            assert says in fails(2, "--config", str(settings), *command)
    assert "missing.toml" in fails(2, "--config", "missing.toml", "doctor")
    monkeypatch.setenv("FLYWHEEL_TTL_SECONDS", "soon")
    assert "FLYWHEEL_TTL_SECONDS" in fails(2, "sessions", "list")


def test_an_unknown_command_is_said_in_a_line() -> None:
    """With the command that tells the right words."""
    for arguments, wrong, where in (
        (["bogus"], "bogus", " --help'"),
        (["--bogus"], "--bogus", " --help'"),
        (["sessions"], "Missing command", " sessions --help'"),
        (["sessions", "list", "--limt", "3"], "--limt", " sessions list --help'"),
        (["sessions", "copy"], "--to", " sessions copy --help'"),
    ):
        said = fails(2, *arguments)
        assert wrong in said
        assert said.endswith(where)


def test_a_store_that_is_away_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", f"redis://:secret-word@{HOST}:{free_port()}")
    ended = flywheel("sessions", "show", "x", "--raw")
    assert ended.code == 1
    assert "cannot be reached" in ended.errors
    assert "secret-word" not in ended.errors
    assert len(ended.errors.splitlines()) == 1


def test_the_doctor_finds_a_fresh_machine_healthy(state: Path) -> None:
    report = flywheel("doctor", "--json")
    assert (report.code, report.json["ok"]) == (0, True)
    assert set(levels(report).values()) == {"ok"}
    assert sources(report)["store.url"] == (str(state / "sessions.db"), "default")
    assert sources(report)["state_dir"] == (str(state), "FLYWHEEL_STATE_DIR")
    assert flywheel("sessions", "list", "--json").json == []  # nothing of the round trip is left
    text = flywheel("doctor").text
    assert "round trip" in text
    assert "PROBLEM" not in text.upper()


def test_the_doctor_says_where_each_setting_comes_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kv_url: str
) -> None:
    settings = tmp_path / "flywheel.toml"
    settings.write_text('[ttl]\nsession = 60\nhistory = 70\n[store]\nurl = "redis://elsewhere"\n')
    monkeypatch.setenv("FLYWHEEL_TTL_SECONDS", "90")
    monkeypatch.setenv("REDIS_URL", kv_url)
    found = sources(flywheel("doctor", "--json"))
    assert found["settings file"] == ("flywheel.toml", "default")
    assert found["ttl.session"] == (90, "FLYWHEEL_TTL_SECONDS")
    assert found["ttl.history"] == (70, "flywheel.toml")
    assert found["ttl.execution"] == (604800, "default")
    assert found["store.url"] == (kv_url, "REDIS_URL")
    assert sources(flywheel("--config", str(settings), "doctor", "--json"))["settings file"][1] == "--config"


def test_the_doctor_warns_of_a_redis_that_forgets(monkeypatch: pytest.MonkeyPatch, kv_url: str) -> None:
    """The servers of these tests keep nothing on disk."""
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", kv_url)
    report = flywheel("doctor", "--json")
    assert report.code == 1
    found = levels(report)
    assert (found["store"], found["round trip"], found["durability"]) == ("ok", "ok", "problem")
    assert all(finding["advice"] for finding in report.json["findings"] if finding["level"] != "ok")


def test_the_doctor_looks_at_disk_and_eviction(monkeypatch: pytest.MonkeyPatch, own_server: Server) -> None:
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", own_server.url)
    for policy, level in (("noeviction", "ok"), ("volatile-lru", "note"), ("allkeys-lru", "problem")):
        with Redis.from_url(own_server.url) as client:
            client.config_set("maxmemory-policy", policy)
        report = flywheel("doctor", "--json")
        assert (levels(report)["eviction"], levels(report)["durability"]) == (level, "ok")
        assert report.code == (1 if level == "problem" else 0)
    own_server.kill()
    report = flywheel("doctor", "--json")
    assert (report.code, levels(report)["store"]) == (1, "problem")


@pytest.mark.parametrize(
    ("option", "value", "harmless", "says"),
    [("maxmemory", "1", "0", "out of memory"), ("min-replicas-to-write", "1", "0", "too few replicas")],
)
def test_the_doctor_finds_a_redis_that_takes_no_writes(
    monkeypatch: pytest.MonkeyPatch, own_server: Server, option: str, value: str, harmless: str, says: str
) -> None:
    """Its journal takes them meanwhile, which is not to say that all is well."""
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", own_server.url)
    with Redis.from_url(own_server.url) as client:
        client.config_set(option, value)
        report = flywheel("doctor", "--json")
        client.config_set(option, harmless)
    assert (report.code, levels(report)["store"], levels(report)["round trip"]) == (1, "ok", "problem")
    (finding,) = [f for f in report.json["findings"] if f["about"] == "round trip"]
    assert says in finding["says"]
    assert "in the journal" in finding["says"]


def test_the_doctor_finds_a_user_without_the_right_to_write(
    monkeypatch: pytest.MonkeyPatch, own_server: Server
) -> None:
    with Redis.from_url(own_server.url) as client:
        client.execute_command("ACL SETUSER reader on >word ~* +@all -evalsha")
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", own_server.url.replace("://", "://reader:word@"))
    report = flywheel("doctor", "--json")
    assert (report.code, levels(report)["round trip"]) == (1, "problem")
    (finding,) = [f for f in report.json["findings"] if f["about"] == "round trip"]
    assert "lacks a right" in finding["says"]


async def test_the_doctor_names_sessions_near_the_limit(tmp_path: Path, manager: SessionManager) -> None:
    """A session from limits.warn_bytes on is named, with the way on."""
    (tmp_path / "flywheel.toml").write_text("[limits]\nwarn_bytes = 200\n")
    await store(manager, conversation("long"))
    (finding,) = [f for f in flywheel("doctor", "--json").json["findings"] if f["about"] == "size"]
    assert finding["says"].startswith("session long has ")
    assert "fork_session" in finding["advice"]


def test_the_doctor_hides_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", f"redis://user:secret-word@{HOST}:{free_port()}/0")
    for report in (flywheel("doctor"), flywheel("doctor", "--json")):
        assert "secret-word" not in report.text + report.errors
        assert "***" in report.text


def test_the_doctor_finds_flows_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "flywheel.toml").write_text('[flows.x]\ntarget = "no_such_module:answer"\n')
    report = flywheel("doctor", "--json")
    assert (report.code, levels(report)["flows"]) == (1, "problem")


def test_the_doctor_finds_sessions_of_others(monkeypatch: pytest.MonkeyPatch, kv_url: str) -> None:
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", kv_url)
    plant(kv_url, "theirs", b'{"id":"theirs","backend":"other"}')
    assert flywheel("sessions", "list", "--json").json == []
    assert flywheel("doctor", "--reindex", "--json").json["indexed"] == 1
    assert [line["id"] for line in flywheel("sessions", "list", "--json").json] == ["theirs"]


def test_the_demo_shows_what_it_promises(state: Path) -> None:
    """On the user's own store, so that the conversation can be gone on with."""
    demo = flywheel("demo")
    assert demo.code == 0, demo.errors
    assert "SIGKILL" in demo.text
    assert "Nothing was lost" in demo.text
    assert str(state) in demo.text
    (listed,) = flywheel("sessions", "list", "--json").json
    assert listed["turns"] == 4
    assert listed["id"] in demo.text


def test_the_snippet_of_the_demo_starts_a_server(state: Path) -> None:
    """Of this installation, on this store; its command is an absolute path."""
    text = flywheel("demo").text
    snippet = json.loads(text[text.index("{") :])
    entry = snippet["mcpServers"]["flywheel"]
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][-1] == "mcp"
    assert entry["env"]["FLYWHEEL_STATE_DIR"] == str(state)


def test_the_command_that_the_demo_names_can_be_pasted(kv_url: str) -> None:
    """Into a shell in which this installation is not on the PATH, and nothing else is set than was before."""
    for options in ((), ("--redis", kv_url)):
        (line,) = [line for line in flywheel("demo", *options).text.splitlines() if " sessions show " in line]
        shown = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
        assert "rehearsal room" in shown.stdout, shown.stderr


async def test_the_demo_runs_on_redis(kv_url: str, state: Path) -> None:
    demo = flywheel("demo", "--redis", kv_url)
    assert demo.code == 0, demo.errors
    assert f"stored in {kv_url}" in demo.text
    assert not (state / "sessions.db").exists()
    async with SessionManager(RedisStore(kv_url, prefix="agentic_flywheel")) as sessions:
        assert [summary.turns for summary in await sessions.list_sessions()] == [4]


def test_the_demo_says_in_a_line_why_it_cannot_run(tmp_path: Path) -> None:
    assert "memory" in fails(2, "demo", "--redis", "memory://")
    assert "ftp" in fails(2, "demo", "--redis", "ftp://x")
    (tmp_path / "flywheel.toml").write_text("[store]\nenabled = false\n")
    assert "memory" in fails(2, "demo")


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("mcp", "mcp", ["mcp"]),
        ("mcp", "mcp", ["demo"]),
        ("redis", "redis", ["demo", "--redis", "redis://elsewhere"]),
        ("redis", "redis", ["sessions", "copy", "--to", "redis://elsewhere"]),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    missing: str, extra: str, arguments: list[str]
) -> None:
    """A module that is None in `sys.modules` cannot be imported, as if it were not installed."""
    code = f"import sys; sys.modules[{missing!r}] = None; from agentic_flywheel.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"pip install 'agentic-flywheel[{extra}]'" in line


def test_the_server_ends_when_its_client_does() -> None:
    """Without a client there is nothing to serve: stdin is at its end."""
    ended = flywheel("mcp")
    assert (ended.code, ended.raw, ended.errors) == (0, b"", "")


def test_no_command_minds_a_reader_that_leaves(manager: SessionManager) -> None:
    """`flywheel sessions show … | head -1` is no failure worth a traceback."""
    asyncio.run(store(manager, conversation("long", turns=3000)))
    command = [sys.executable, "-m", "agentic_flywheel.cli", "sessions", "show", "long", "--last", "3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
