"""How an MCP client starts our server: command, arguments and variables that name these very settings."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import settings_file

if TYPE_CHECKING:
    from ..config import Settings

HIDDEN = "PASSWORD"


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """One entry of ``mcpServers``. Clients pass on hardly any variables: those that count are named here."""

    command: str
    arguments: tuple[str, ...]
    variables: dict[str, str]

    def snippet(self) -> dict[str, Any]:
        """The entry as it stands in a client's settings; a password is left out."""
        variables = {name: _without_password(value) for name, value in self.variables.items()}
        entry = {"command": self.command, "args": list(self.arguments), "env": variables}
        return {"mcpServers": {"flywheel": entry}}

    def shell_line(self, *arguments: str) -> str:
        """Another command of this installation on the same sessions, for the shell that we run in; no password."""
        variables = [
            f"{name}={shlex.quote(_without_password(value))}"
            for name, value in self.variables.items()
            if name in ("FLYWHEEL_CONFIG", "FLYWHEEL_REDIS_URL") and os.environ.get(name) != value
        ]
        return " ".join([*variables, shlex.join([self.command, *self.arguments[:-1], *arguments])])

    @property
    def hides_password(self) -> bool:
        """Whether the snippet lacks a password."""
        return any(_without_password(value) != value for value in self.variables.values())


def server_entry(settings: Settings, config: Path | None, redis_url: str | None) -> ServerEntry:
    """The entry that starts the server of this installation with these settings."""
    variables = {name: os.environ[name] for name in _PASSED_ON if os.environ.get(name)}
    variables["FLYWHEEL_STATE_DIR"] = str(settings.state_folder.absolute())
    file = settings_file(config, os.environ)
    if file:
        variables["FLYWHEEL_CONFIG"] = str(file.absolute())
    url = redis_url or os.environ.get("FLYWHEEL_REDIS_URL") or os.environ.get("REDIS_URL")
    if url:
        variables["FLYWHEEL_REDIS_URL"] = url
    script = Path(sys.executable).with_name("flywheel")
    if script.is_file():
        return ServerEntry(str(script), ("mcp",), variables)
    return ServerEntry(sys.executable, ("-m", "agentic_flywheel.cli", "mcp"), variables)


_PASSED_ON = ("FLYWHEEL_PREFIX", "FLYWHEEL_TTL_SECONDS", "PYTHONPATH")


def _without_password(value: str) -> str:
    """The value; in a URL, the password replaced by a word that says so."""
    scheme, found, rest = value.partition("://")
    credentials, at, place = rest.rpartition("@")
    user, colon, password = credentials.partition(":")
    return f"{scheme}{found}{user}:{HIDDEN}{at}{place}" if at and colon and password else value
