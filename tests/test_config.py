"""Settings come from arguments, the environment and a file, in this order, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentic_flywheel.config import LONGEST_TTL, FlowSettings, Settings, StoreSettings, TimesToLive
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
    assert (settings.flows, settings.default_flow) == ({}, "recap")
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
    assert settings.flows == {"mine": FlowSettings("custom", "module:function", "Mine", 1.5, -1)}
    assert (settings.default_flow, settings.state_folder) == ("mine", Path.home() / "here")


VARIABLES: list[tuple[str, str, Any, Any]] = [
    ("FLYWHEEL_REDIS_URL", "redis://variable", lambda s: s.store.url, "redis://variable"),
    ("REDIS_URL", "redis://variable", lambda s: s.store.url, "redis://variable"),
    ("FLYWHEEL_PREFIX", "variable", lambda s: s.store.prefix, "variable"),
    ("FLYWHEEL_STATE_DIR", "/variable", lambda s: s.state_folder, Path("/variable")),
    ("FLYWHEEL_TTL_SECONDS", "7", lambda s: s.ttl.session, 7),
    ("FLYWHEEL_TTL_SECONDS", "0", lambda s: s.ttl.session, 0),
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
    ("[store]\nurll = 1", "urll"),
    ("stor = 1", "stor"),
    ("[flows.mine]\ntimeot = 5", "timeot"),
    ("[store]\nurl = 5", r"\$\.store\.url"),
    ("[ttl]\nsession = -1", r"ttl\.session is -1; it is a number of seconds"),
    (f"[ttl]\nhistory = {LONGEST_TTL + 1}", r"ttl\.history is .*100 years"),
    ("[ttl]\nsession = 1.5", r"\$\.ttl\.session"),
    ("[flows.mine]\nkeywords = 'a'", r"\$\.flows"),
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
