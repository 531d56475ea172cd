"""``flywheel journal``: what was accepted while Redis was away and waits on this machine."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from .options import AsJson, Options, options_of, run
from .output import print_json, table

if TYPE_CHECKING:
    from ..resilience import JournalledStore
    from ..resilience.journal_file import Entry
    from ..resilience.replay import Replayed

app = typer.Typer(
    help="What was accepted while Redis was away, and waits on this machine.",
    no_args_is_help=False,
    add_completion=False,
)


@app.command("list")
def list_entries(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what waits, oldest first, and then what Redis would not take, with the reason."""
    entries = run(_entries(options_of(context), limit))
    if as_json:
        print_json([_described(entry) for entry in entries])
    elif entries:
        columns = ("place", "session", "kind", "accepted", "bytes", "refused")
        table(columns, [tuple(_described(entry).values()) for entry in entries])
    else:
        typer.echo("The journal is empty: nothing waits.")


@app.command()
def replay(
    context: typer.Context,
    refused: Annotated[bool, typer.Option("--refused", help="Try again what Redis would not take, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give Redis now what waits. Exit code 1 if something still waits."""
    done = run(_replay(options_of(context), refused))
    if as_json:
        print_json(
            {"replayed": done.replayed, "waiting": done.waiting, "refused": done.refused, "reason": done.reason}
        )
    else:
        typer.echo(f"replayed: {done.replayed}, still waiting: {done.waiting}, refused: {done.refused}")
        if done.reason:
            typer.echo(done.reason, err=True)
    raise typer.Exit(1 if done.waiting else 0)


@app.command()
def export(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Where to; stdout if not given."),
    ] = None,
) -> None:
    """Write all that waits, and what was refused, as JSON lines: what each entry is and the turns in it."""
    if output is None:
        run(_export(options_of(context), sys.stdout.buffer))
        sys.stdout.flush()
        return
    with output.open("wb") as file:
        count = run(_export(options_of(context), file))
    typer.echo(f"wrote {count} entries to {output}", err=True)


@asynccontextmanager
async def _opened(options: Options) -> AsyncIterator[JournalledStore]:
    from ..errors import ConfigError
    from ..resilience import JournalledStore

    async with options.manager() as sessions:
        if not isinstance(sessions.store, JournalledStore):
            raise ConfigError(f"there is no journal: sessions are kept in {sessions.store.where}")
        yield sessions.store


async def _entries(options: Options, limit: int) -> list[Entry]:
    found: list[Entry] = []
    async with _opened(options) as store:
        if not store.journal.exists:
            return found
        for refused in (False, True):
            async for entry in store.journal.entries(refused=refused):
                if len(found) >= limit:
                    return found
                found.append(entry)
    return found


async def _replay(options: Options, refused: bool) -> Replayed:
    async with _opened(options) as store:
        if refused and store.journal.exists:
            await store.journal.accept_again()
        return await store.replayer.replay_now()


async def _export(options: Options, output: BinaryIO) -> int:
    from ..jsontext import encode
    from ..resilience.journal_file import exported

    count = 0
    async with _opened(options) as store:
        if not store.journal.exists:
            return 0
        for refused in (False, True):
            async for entry in store.journal.entries(refused=refused):
                output.write(encode(_described(entry) | exported(entry)) + b"\n")
                count += 1
    return count


def _described(entry: Entry) -> dict[str, Any]:
    accepted = datetime.fromtimestamp(entry.accepted_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "place": entry.place,
        "session_id": entry.session_id,
        "kind": entry.kind,
        "accepted_at": accepted,
        "bytes": len(entry.data),
        "refused": entry.refused,
    }
