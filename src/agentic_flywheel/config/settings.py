"""All settings, and where they are read from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from ..errors import ConfigError
from .encryption import EncryptionSettings
from .flows import FlowSettings, ServerSettings, flow_problems, server_problems
from .http import HttpSettings
from .secrets import SecretSettings
from .times import BadSetting, TimesToLive


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The greatest sizes that are stored, in bytes; from ``warn_bytes`` on, health and doctor tell of a session.

    ``sessions`` is how many of them a principal may have, where there are principals.
    """

    turn_bytes: int = 16 * 1024**2
    session_bytes: int = 256 * 1024**2
    warn_bytes: int = 64 * 1024**2
    sessions: int = 10_000


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where sessions are kept: ``[store]``. Without a URL, in an embedded SQLite file."""

    url: str | None = None
    prefix: str = "agentic_flywheel"
    enabled: bool = True

    def __repr__(self) -> str:
        # The URL may hold a password, in front of the host or among its options.
        return f"StoreSettings(url={'…' if self.url else None!r}, prefix={self.prefix!r}, enabled={self.enabled!r})"


class JournalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens while Redis is away: ``[journal]``.

    A call gives up on Redis after ``budget_ms``; what it was to write waits in a local file of at most
    ``limit_bytes``. With ``enabled`` false it is refused instead.
    """

    enabled: bool = True
    budget_ms: int = 100
    limit_bytes: int = 256 * 1024**2


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, as ``flywheel.toml`` has them."""

    store: StoreSettings = StoreSettings()
    ttl: TimesToLive = TimesToLive()
    limits: Limits = Limits()
    journal: JournalSettings = JournalSettings()
    http: HttpSettings = HttpSettings()
    secrets: SecretSettings = SecretSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    servers: dict[str, ServerSettings] = {}
    flows: dict[str, FlowSettings] = {}
    default_flow: str = "recap"
    state_dir: str | None = None

    def __post_init__(self) -> None:
        for name, server in self.servers.items():
            for setting, problem in server_problems(server):
                raise BadSetting(f"servers.{name}.{setting} {problem}")
        for name, flow in self.flows.items():
            for setting, problem in flow_problems(flow, self.servers):
                raise BadSetting(f"flows.{name}.{setting} {problem}")

    @classmethod
    def load(cls, path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """The settings of a file and the environment.

        Args:
            path: the settings file; if not given, it is looked for as the package says.
            environ: the environment variables; the process's own if not given.

        Raises:
            ConfigError: the file is missing, is no TOML, or has a setting that is wrong; says which.
        """
        variables = os.environ if environ is None else environ
        found = settings_file(path, variables)
        settings: Self = _read(cls, found) if found else cls()
        return _with_environment(settings, variables)

    @property
    def state_folder(self) -> Path:
        """Where local files are kept."""
        if self.state_dir:
            return Path(self.state_dir).expanduser()
        from platformdirs import user_state_path  # here, so that importing settings stays cheap

        return user_state_path("agentic-flywheel", appauthor=False)

    def backend_of(self, flow: FlowSettings) -> str:
        """The kind of server that a flow runs on; ``custom`` for a function."""
        return self.servers[flow.server].backend if flow.server else "custom"


_T = TypeVar("_T")
_S = TypeVar("_S", bound=Settings)


def settings_file(path: Path | str | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file that counts: the one that is named, else the one that is found; None if there is none.

    Raises:
        ConfigError: the named one does not exist.
    """
    named = path or environ.get("FLYWHEEL_CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"there is no settings file {named}")
        return Path(named)
    from platformdirs import user_config_path

    places = (Path("flywheel.toml"), user_config_path("agentic-flywheel", appauthor=False) / "flywheel.toml")
    return next((place for place in places if place.is_file()), None)


def _read(kind: type[_T], path: Path) -> _T:
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        return msgspec.convert(document, kind)
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_in_words(_named(error, document))}") from error


def _named(error: msgspec.ValidationError, document: Mapping[str, Any]) -> str:
    """What is wrong, with the name of the server or flow, for which msgspec says ``[...]``."""
    kinds: dict[str, type] = {"servers": ServerSettings, "flows": FlowSettings}
    for table, kind in kinds.items():
        if f"$.{table}[...]" not in str(error):
            continue
        for name, part in document[table].items():
            try:
                msgspec.convert(part, kind)
            except msgspec.ValidationError:
                return str(error).replace("[...]", f".{name}", 1)
    return str(error)


def _in_words(problem: str) -> str:
    """What msgspec says, with the setting as the file and the documentation name it."""
    what, _, place = problem.partition(" - at `$")
    table = place.strip("`.")
    if what.startswith(_UNKNOWN):
        name = ".".join(filter(None, (table, what.removeprefix(_UNKNOWN).strip("`"))))
        return f"there is no setting {name}; docs/reference.md has all of them"
    return what if not table or what.startswith(table) else f"{table}: {what}"


_UNKNOWN = "Object contains unknown field `"


def _with_environment(settings: _S, environ: Mapping[str, str]) -> _S:
    replace = msgspec.structs.replace
    url = environ.get("FLYWHEEL_REDIS_URL") or environ.get("REDIS_URL")
    prefix = environ.get("FLYWHEEL_PREFIX")
    store = replace(settings.store, url=url or settings.store.url, prefix=prefix or settings.store.prefix)
    ttl = settings.ttl
    if seconds := environ.get("FLYWHEEL_TTL_SECONDS"):
        if not (seconds.isascii() and seconds.isdigit()):
            raise ConfigError(f"FLYWHEEL_TTL_SECONDS is {seconds!r}; it is a number of seconds, 0 for ever")
        ttl = replace(ttl, session=int(seconds))
    state_dir = environ.get("FLYWHEEL_STATE_DIR") or settings.state_dir
    http = settings.http
    if tokens := environ.get("FLYWHEEL_TOKENS"):
        http = replace(http, auth=replace(http.auth, tokens=tokens, tokens_file=None))
    return replace(settings, store=store, ttl=ttl, http=http, state_dir=state_dir)
