"""What every command is given: the options that stand before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ..config import Settings
    from ..manager import SessionManager

PATIENCE_MS = 1000

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True, slots=True)
class Options:
    """The options before the command: ``--config``."""

    config: Path | None

    def settings(self, url: str | None = None) -> Settings:
        """The settings that count; with another store, if a URL is given.

        Raises:
            ConfigError: a setting is wrong; says which.
        """
        from msgspec.structs import replace

        from ..config import Settings

        settings = Settings.load(self.config)
        if url is None:
            return settings
        return replace(settings, store=replace(settings.store, url=url, enabled=True))

    def principal(self, subject: str) -> str:
        """The principal that a user of the HTTP server is; for the errors see `settings`."""
        from ..session.principal import principal_of

        return principal_of(self.settings().http.auth.vouching, subject)

    def manager(self, url: str | None = None) -> SessionManager:
        """The session manager of these settings, for an ``async with``; for the errors see `settings`.

        Whoever typed a command waits longer for its answer than the callers of a server may.
        """
        from msgspec.structs import replace

        from ..wiring import open_manager

        settings = self.settings(url)
        patient = replace(settings.journal, budget_ms=max(settings.journal.budget_ms, PATIENCE_MS))
        return open_manager(replace(settings, journal=patient))


T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do the work of a command in an event loop; what it comes to."""
    import asyncio  # here: it costs more than all of our own modules, and help texts need none of it

    return asyncio.run(work)


def options_of(context: typer.Context) -> Options:
    """The options that stand before the command."""
    found: Options = context.obj
    return found
