"""Which settings count, and where each of them comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Settings, settings_file

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that counts. ``source`` is a variable, a file, or ``default``."""

    name: str
    value: Any
    source: str


def settings_in_use(config: Path | None, where: str) -> list[Setting]:
    """The settings that count, with their sources.

    Args:
        config: the settings file that was named, if one was.
        where: the store as it may be shown, without its password.
    """
    file = settings_file(config, os.environ)
    read = Settings.load(file, {}) if file else Settings()
    used = Settings.load(config)

    def setting(name: str, get: Callable[[Settings], Any], *variables: str, shown: Any = None) -> Setting:
        source = next((variable for variable in variables if os.environ.get(variable)), None)
        if source is None:
            source = str(file) if get(read) != get(Settings()) else DEFAULT
        return Setting(name, get(used) if shown is None else shown, source)

    return [
        Setting("settings file", str(file) if file else None, _how_found(config)),
        setting("store.url", lambda s: s.store.url, "FLYWHEEL_REDIS_URL", "REDIS_URL", shown=where),
        setting("store.enabled", lambda s: s.store.enabled),
        setting("store.prefix", lambda s: s.store.prefix, "FLYWHEEL_PREFIX"),
        setting("state_dir", lambda s: s.state_dir, "FLYWHEEL_STATE_DIR", shown=str(used.state_folder)),
        setting("ttl.session", lambda s: s.ttl.session, "FLYWHEEL_TTL_SECONDS"),
        setting("ttl.execution", lambda s: s.ttl.execution),
        setting("ttl.history", lambda s: s.ttl.history),
        setting("default_flow", lambda s: s.default_flow),
        setting("flows", lambda s: sorted({*s.flows, "recap"})),
    ]


def _how_found(config: Path | None) -> str:
    if config:
        return "--config"
    return "FLYWHEEL_CONFIG" if os.environ.get("FLYWHEEL_CONFIG") else DEFAULT
