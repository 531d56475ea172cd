"""Settings: from arguments, environment variables and ``flywheel.toml``, in this order of precedence.

======================  =======================================================================
FLYWHEEL_CONFIG         the settings file; else ``./flywheel.toml``, else the one in the user's
                        configuration folder, else none
FLYWHEEL_REDIS_URL      the Redis to keep sessions in; else REDIS_URL, else ``store.url`` of the
                        file, else an embedded SQLite file
FLYWHEEL_PREFIX         what our keys in Redis begin with (``agentic_flywheel``)
FLYWHEEL_STATE_DIR      where local files are kept (the user's state folder)
FLYWHEEL_TTL_SECONDS    how long a session is kept after its last use (604800, 7 days; 0: for ever)
======================  =======================================================================
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from .errors import ConfigError

WEEK = 7 * 24 * 3600
LONGEST_TTL = 100 * 365 * 24 * 3600


class BadSetting(ConfigError, ValueError):
    """A value that a setting cannot have."""


class TimesToLive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds that each kind of thing is kept after its last use; 0 keeps for ever."""

    session: int = WEEK
    execution: int = WEEK
    history: int = WEEK

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= LONGEST_TTL:
                raise BadSetting(
                    f"ttl.{name} is {getattr(self, name)}; it is a number of seconds up to {LONGEST_TTL} (100 "
                    "years), 0 to keep for ever"
                )


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The greatest sizes that are stored, in bytes; from ``warn_bytes`` on, health and doctor tell of a session."""

    turn_bytes: int = 16 * 1024**2
    session_bytes: int = 256 * 1024**2
    warn_bytes: int = 64 * 1024**2


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


class FlowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flow: ``[flows.NAME]``.

    ``target`` is ``module:function`` for the backend ``custom``. ``timeout`` is in seconds. ``turns`` is how
    many of the newest turns the flow is given (-1: all).
    """

    backend: str = "custom"
    target: str = ""
    description: str = ""
    timeout: float = 120.0
    turns: int = 50


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, as ``flywheel.toml`` has them."""

    store: StoreSettings = StoreSettings()
    ttl: TimesToLive = TimesToLive()
    limits: Limits = Limits()
    journal: JournalSettings = JournalSettings()
    flows: dict[str, FlowSettings] = {}
    default_flow: str = "recap"
    state_dir: str | None = None

    @classmethod
    def load(cls, path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """The settings of a file and the environment.

        Args:
            path: the settings file; if not given, it is looked for as the module says.
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
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), kind)
    except (tomllib.TOMLDecodeError, UnicodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error


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
    return replace(settings, store=store, ttl=ttl, state_dir=state_dir)
