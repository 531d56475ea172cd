"""Settings come from arguments, the environment and a file, in this order, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentic_flywheel.config import (
    LONGEST_TTL,
    FlowSettings,
    FlowTimesToLive,
    ServerSettings,
    Settings,
    StoreSettings,
    TimesToLive,
)
from agentic_flywheel.errors import ConfigError

WEEK = 604800


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flywheel.toml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of each test: an empty one."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_defaults() -> None:
    """Without a file and without variables everything has a default: the embedded store, and seven days."""
    settings = Settings.load(environ={})
    assert settings == Settings()
    assert (settings.store.url, settings.store.prefix, settings.store.enabled) == (None, "agentic_flywheel", True)
    assert (settings.ttl.session, settings.ttl.execution, settings.ttl.history) == (WEEK, WEEK, WEEK)
    assert (settings.servers, settings.flows, settings.default_flow) == ({}, {}, "recap")
    assert settings.state_folder.name == "agentic-flywheel"


def test_file(file: Path) -> None:
    """All that a file says is taken from it; what it does not say keeps its default."""
    file.write_text(
        """
        default_flow = "mine"
        state_dir = "~/here"
        [store]
        url = "redis://file"
        prefix = "other"
        enabled = false
        [ttl]
        session = 60
        execution = 0
        [limits]
        turn_bytes = 1000
        [flows.mine]
        target = "module:function"
        description = "Mine"
        timeout = 1.5
        turns = -1
        """
    )
    settings = Settings.load(file, {})
    assert settings.store == StoreSettings("redis://file", "other", False)
    assert settings.ttl == TimesToLive(60, 0, WEEK)
    assert (settings.limits.turn_bytes, settings.limits.session_bytes) == (1000, 256 * 1024**2)
    mine = FlowSettings(target="module:function", description="Mine", timeout=1.5, turns=-1)
    assert settings.flows == {"mine": mine}
    assert settings.backend_of(mine) == "custom"
    assert (settings.default_flow, settings.state_folder) == ("mine", Path.home() / "here")


SERVERS = """
[servers.studio]
backend = "flowise"
url = "https://flows.example.org/base"
key_env = "STUDIO_KEY"
ca_file = "ca.pem"
verify = false
[servers.local]
backend = "langflow"
url = "http://[::1]:7860"
"""


def test_servers_and_flows(file: Path) -> None:
    """A flow on a server has its backend from there; all else that may be said of both is taken from the file."""
    file.write_text(
        SERVERS
        + """
        [flows.csv2507]
        server = "studio"
        flow = "7e3e"
        keywords = ["creative", "tension"]
        timeout = 30
        idempotent = true
        stream = true
        parameters = { temperature = 0.2, vars = { tone = "calm" } }
        ttl = { execution = 60, history = 0 }
        replay_turns = 5
        replay_bytes = 1000
        [flows.chat]
        backend = "langflow"
        server = "local"
        api = "workflow"
        """
    )
    settings = Settings.load(file, {})
    studio = ServerSettings("flowise", "https://flows.example.org/base", "STUDIO_KEY", "ca.pem", False)
    assert settings.servers == {"studio": studio, "local": ServerSettings("langflow", "http://[::1]:7860")}
    assert settings.flows["csv2507"] == FlowSettings(
        server="studio",
        flow="7e3e",
        keywords=("creative", "tension"),
        timeout=30.0,
        idempotent=True,
        stream=True,
        parameters={"temperature": 0.2, "vars": {"tone": "calm"}},
        ttl=FlowTimesToLive(60, 0),
        replay_turns=5,
        replay_bytes=1000,
    )
    assert [settings.backend_of(flow) for flow in settings.flows.values()] == ["flowise", "langflow"]


def test_keys_come_from_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings hold the name of a variable, so no repr shows a key; one that is not there is no error yet."""
    file.write_text(SERVERS)
    monkeypatch.delenv("STUDIO_KEY", raising=False)
    server = Settings.load(file).servers["studio"]
    assert server.key is None
    for value, key in (("", None), (" ", None), ("pa55word", "pa55word"), ("pa55word\n", "pa55word")):
        monkeypatch.setenv("STUDIO_KEY", value)
        assert server.key == key
    assert "pa55word" not in repr(Settings.load(file))
    assert Settings.load(file).servers["local"].key is None


VARIABLES: list[tuple[str, str, Any, Any]] = [
    ("FLYWHEEL_REDIS_URL", "redis://variable", lambda s: s.store.url, "redis://variable"),
    ("REDIS_URL", "redis://variable", lambda s: s.store.url, "redis://variable"),
    ("FLYWHEEL_PREFIX", "variable", lambda s: s.store.prefix, "variable"),
    ("FLYWHEEL_STATE_DIR", "/variable", lambda s: s.state_folder, Path("/variable")),
    ("FLYWHEEL_TTL_SECONDS", "7", lambda s: s.ttl.session, 7),
    ("FLYWHEEL_TTL_SECONDS", "0", lambda s: s.ttl.session, 0),
    ("FLYWHEEL_TOKENS", "{}", lambda s: (s.http.auth.tokens, s.http.auth.tokens_file), ("{}", None)),
]


@pytest.mark.parametrize(("name", "text", "setting", "expected"), VARIABLES)
@pytest.mark.parametrize("from_process", [True, False])
def test_variables_win_over_the_file(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    setting: Any,
    expected: Any,
    from_process: bool,
) -> None:
    """Each variable wins over the file, and an empty one is none."""
    file.write_text('state_dir = "/file"\n[store]\nurl = "redis://file"\nprefix = "file"\n[ttl]\nsession = 5\n')
    by_file = setting(Settings.load(file, {}))
    if from_process:
        monkeypatch.setenv(name, text)
    assert setting(Settings.load(file, None if from_process else {name: text})) == expected != by_file
    assert setting(Settings.load(file, {name: ""})) == by_file


def test_our_url_wins() -> None:
    """FLYWHEEL_REDIS_URL wins over REDIS_URL."""
    environ = {"REDIS_URL": "redis://general", "FLYWHEEL_REDIS_URL": "redis://ours"}
    assert Settings.load(environ=environ).store.url == "redis://ours"


def test_which_file(file: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file is the named one, else FLYWHEEL_CONFIG's, else that of the working folder, else the user's own."""
    user = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user))
    monkeypatch.setattr("sys.platform", "linux")
    (user / "agentic-flywheel").mkdir(parents=True)
    variable = tmp_path / "variable.toml"
    places = [user / "agentic-flywheel" / "flywheel.toml", elsewhere / "flywheel.toml", variable, file]
    environ: dict[str, str] = {}
    for place in places:
        place.write_text(f'default_flow = "{place.parent.name}/{place.name}"')
        environ = {"FLYWHEEL_CONFIG": str(variable)} if variable.exists() else {}
        found = Settings.load(file if file.exists() else None, environ)
        assert found.default_flow == f"{place.parent.name}/{place.name}"


WRONG = [
    ("[store]\nurll = 1", r"no setting store\.urll; docs"),
    ("stor = 1", "no setting stor;"),
    ("[flows.mine]\ntimeot = 5", r"no setting flows\.mine\.timeot;"),
    ("[store]\nurl = 5", r"store\.url: "),
    ("[ttl]\nsession = -1", r": ttl\.session is -1; it is a number of seconds"),
    (f"[ttl]\nhistory = {LONGEST_TTL + 1}", r"ttl\.history is .*100 years"),
    ("[ttl]\nsession = 1.5", r"ttl\.session: "),
    ("[flows.ok]\ntarget = 'a:b'\n[flows.mine]\nkeywords = 'a'", r"flows\.mine\.keywords: "),
    ("[flows.mine]\nttl = { session = 1 }", r"no setting flows\.mine\.ttl\.session;"),
    ("[servers.mine]\nbackend = 'flowise'", r"servers\.mine: .*`url`"),
    ("[servers.mine]\nkey = 'pa55word'\nbackend = 'flowise'\nurl = 'http://h'", r"no setting servers\.mine\.key;"),
    ("servers = 1", r"servers: "),
    ("[store", "is not TOML"),
    ("default_flow = ", "is not TOML"),
    ("\x00", "is not TOML"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_wrong_settings(file: Path, text: str, words: str) -> None:
    """A setting that is unknown or wrong, or a file that is no TOML, is a ConfigError with the file's name."""
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        Settings.load(file, {})
    assert str(file) in str(caught.value)


def _server(url: str = "http://host", backend: str = "flowise", more: str = "") -> str:
    return f"[servers.mine]\nbackend = '{backend}'\nurl = '{url}'\n{more}\n"


WRONG_SERVERS = [
    (_server(backend="flowwise"), r"servers\.mine\.backend is 'flowwise'; it is 'flowise' or 'langflow'"),
    (_server(url=""), r"servers\.mine\.url names no server; it has the form https://HOST:PORT"),
    (_server(url="host:3000"), r"servers\.mine\.url names no server"),
    (_server(url="ftp://host"), r"servers\.mine\.url names no server"),
    (_server(url="http://:80"), r"servers\.mine\.url names no server"),
    (_server(url="http://host:80800"), r"servers\.mine\.url names no server"),
    (_server(url="http://[::1"), r"servers\.mine\.url names no server"),
    (_server(url="http://user:pa55word@host"), r"servers\.mine\.url holds a user or a password; .*key_env"),
    (_server(url="http://pa55word@host"), r"servers\.mine\.url holds a user or a password"),
    (_server(url="http://host/?key=pa55word"), r"servers\.mine\.url goes on after the path"),
    (_server(url="http://host/#pa55word"), r"servers\.mine\.url goes on after the path"),
    (_server(more="key_env = 'sk-pa55word'"), r"servers\.mine\.key_env is no name of an environment variable"),
    (_server(more="key_env = ''"), r"servers\.mine\.key_env is no name"),
]


@pytest.mark.parametrize(("text", "words"), WRONG_SERVERS)
def test_wrong_servers(file: Path, text: str, words: str) -> None:
    """A server that is described wrongly is named, with what to do; what could be a key is not shown."""
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        Settings.load(file, {})
    assert "pa55word" not in str(caught.value)


WRONG_FLOWS = [
    ("server = 'mime'", r"flows\.x\.server is 'mime', and there is no \[servers\.mime\]; did you mean 'mine'"),
    ("server = 'other'", r"flows\.x\.server is 'other', .*; there are langs, mine"),
    ("backend = 'flowise'", r"flows\.x\.server is missing: a flowise flow runs on a server"),
    ("backend = 'oracle'", r"flows\.x\.backend is 'oracle'; leave it out, or say 'custom'"),
    ("target = 'a:b'\nflow = 'id'", r"flows\.x\.flow is for flows on a server"),
    ("target = 'a:b'\nstream = true", r"flows\.x\.stream is for flows on a server"),
    ("target = 'a:b'\napi = 'run'", r"flows\.x\.api is for flows on a server"),
    ("target = 'a:b'\nparameters = { a = 1 }", r"flows\.x\.parameters is for flows on a server"),
    ("server = 'mine'\nbackend = 'custom'", r"flows\.x\.backend is 'custom'; leave it out: .*'flowise'"),
    ("server = 'mine'\nbackend = 'langflow'", r"flows\.x\.backend is 'langflow'; leave it out: .*'flowise'"),
    ("server = 'mine'\nturns = 5", r"flows\.x\.turns is for Python functions"),
    ("server = 'mine'\ntarget = 'a:b'", r"flows\.x\.target is for Python functions"),
    ("server = 'mine'\napi = 'run'", r"flows\.x\.api is for langflow, and its server has 'flowise'"),
    ("server = 'langs'\napi = 'v2'", r"flows\.x\.api is 'v2'; it is 'run' or 'workflow'"),
    ("timeout = 0", r"flows\.x\.timeout is 0.0; it is a number of seconds above 0"),
    ("timeout = nan", r"flows\.x\.timeout is nan"),
    ("timeout = inf", r"flows\.x\.timeout is inf"),
    ("turns = -2", r"flows\.x\.turns is -2; it is a number of turns, or -1 for all"),
    ("replay_turns = -1", r"flows\.x\.replay_turns is -1; it is 0 or more"),
    ("replay_bytes = -1", r"flows\.x\.replay_bytes is -1; it is 0 or more"),
    ("ttl = { execution = -1 }", r"flows\.x\.ttl\.execution is -1; it is a number of seconds"),
    (f"ttl.history = {LONGEST_TTL + 1}", r"flows\.x\.ttl\.history is "),
]


@pytest.mark.parametrize(("text", "words"), WRONG_FLOWS)
def test_wrong_flows(file: Path, text: str, words: str) -> None:
    """A flow that is described wrongly is named, with the setting and what to do."""
    file.write_text(f"{_server()}[servers.langs]\nbackend = 'langflow'\nurl = 'http://host'\n[flows.x]\n{text}")
    with pytest.raises(ConfigError, match=words):
        Settings.load(file, {})


def test_no_text(file: Path) -> None:
    """A file that is not UTF-8 is no TOML."""
    file.write_bytes(b'default_flow = "\xff"')
    with pytest.raises(ConfigError, match="is not TOML"):
        Settings.load(file, {})


def test_no_file(tmp_path: Path) -> None:
    """A file that is named and is not there is an error; so is a folder."""
    for named in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=f"there is no settings file {named}"):
            Settings.load(named, {})
        with pytest.raises(ConfigError, match="there is no settings file"):
            Settings.load(environ={"FLYWHEEL_CONFIG": str(named)})


@pytest.mark.parametrize("seconds", ["soon", "-1", "1.5", "²", "٣", "1e3", str(LONGEST_TTL + 1)])
def test_wrong_ttl_variable(seconds: str) -> None:
    """A FLYWHEEL_TTL_SECONDS that is no number of seconds is refused."""
    with pytest.raises(ConfigError, match="it is a number of seconds"):
        Settings.load(environ={"FLYWHEEL_TTL_SECONDS": seconds})


@pytest.mark.parametrize("url", ["redis://user:pa55word@host/0", "redis://host/0?password=pa55word"])
def test_secrets_are_not_shown(file: Path, url: str) -> None:
    """No repr of the settings, and no message about them, shows a password."""
    settings = Settings.load(environ={"FLYWHEEL_REDIS_URL": url})
    assert settings.store.url == url
    for shown in (repr(settings), str(settings), repr(settings.store), f"{settings.store}"):
        assert "pa55word" not in shown
    file.write_text(f'[store]\nurl = "{url}"\nunknown = 1')
    with pytest.raises(ConfigError) as caught:
        Settings.load(file, {})
    assert "pa55word" not in str(caught.value)


def test_settings_do_not_change() -> None:
    """Settings cannot be changed behind the back of what was made from them."""
    with pytest.raises(AttributeError):
        Settings().store.url = "redis://other"  # type: ignore[misc]  # that is the point
    assert msgspec.structs.replace(Settings(), default_flow="mine").default_flow == "mine"
