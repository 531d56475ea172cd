"""``flywheel sessions copy``: from one store to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Options, options_of, run
from .output import console, print_json, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import Settings
    from ..manager import Copied
    from ..stores import Store
    from ..stores.base import Kind

_URLS = "redis://…, rediss://…, unix://… or sqlite://PATH"


def copy(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="URL", help=f"Where to: {_URLS}.")],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Where from; the store of the settings if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy all sessions, executions and flow histories from one store to another.

    It may be run twice, and while the source is in use: turns are known by their ids and nothing is there
    twice. The source is not changed.
    """
    copied = run(_copy(options_of(context), source, to))
    if as_json:
        counts = {"sessions": copied.sessions, "executions": copied.executions, "histories": copied.histories}
        print_json({**counts, "skipped": copied.skipped})
    else:
        typer.echo(
            f"copied {copied.sessions} sessions, {copied.executions} executions, {copied.histories} flow histories"
        )
        for name, reason in copied.skipped.items():
            typer.echo(printable(f"not copied: {name}: {reason}"))
    if copied.skipped:
        from ..errors import StoreError

        raise StoreError(f"{len(copied.skipped)} sessions were not copied; the source still has them")


async def _copy(options: Options, source_url: str | None, target_url: str) -> Copied:
    from ..wiring import open_store

    settings = options.settings(target_url)
    target = open_store(settings)
    source = open_store(options.settings(source_url))
    _check(source, target)
    await _copy_keys(options.settings(source_url), settings)
    return await _copy_all(source, target, settings)


async def _copy_keys(source: Settings, target: Settings) -> None:
    """The keys of the sessions first: what is copied of these is of no use without."""
    from msgspec.structs import replace

    from ..config import TimesToLive
    from ..wiring import of_keys, open_store

    if target.encryption.master_keys is None:
        return
    here, there = open_store(of_keys(source)), open_store(of_keys(target))
    if here.where == there.where and of_keys(source).store.prefix == of_keys(target).store.prefix:
        return
    await _copy_all(here, there, replace(target, ttl=TimesToLive(session=0)))


async def _copy_all(source: Store, target: Store, settings: Settings) -> Copied:
    from ..manager import copy_everything

    try:
        with _Bar(await _count(source)) as bar:
            return await copy_everything(
                source, target, ttl=settings.ttl, limits=settings.limits, progress=bar.advance
            )
    finally:
        await source.close()
        await target.close()


def _check(source: Store, target: Store) -> None:
    from pathlib import Path

    from ..errors import BadInput

    if source.where == target.where:
        raise BadInput(f"source and target are the same store: {source.where}")
    if target.name == "memory":
        raise BadInput("a copy in memory would be gone when this command ends; give a URL of Redis or SQLite")
    if source.name == "sqlite" and not Path(source.where).is_file():  # opening it would make an empty one
        raise BadInput(f"there is no file {source.where} to copy from")


async def _count(source: Store) -> int:
    kinds: tuple[Kind, ...] = ("session", "execution", "history")
    return sum([1 for kind in kinds async for _ in source.names(kind)])


class _Bar:
    """A progress bar on stderr; where nobody looks at it, nothing."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("copying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        out = console(stderr=True)
        self._progress = Progress(*columns, console=out, disable=not out.is_terminal)
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def advance(self) -> Callable[[Kind], None]:
        """To be called for each thing that is done."""
        return lambda kind: self._progress.advance(self._task)
