"""``flywheel sessions``: look at sessions, remove them, and move them about."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Options, options_of, run
from .output import print_bytes, print_json, table
from .resume import resume
from .transfer import copy

if TYPE_CHECKING:
    from ..codec import Summary
    from ..manager.importing import Imported
    from ..session import UniversalSession

app = typer.Typer(
    help="Look at sessions, go on with them, remove them, and move them about.",
    no_args_is_help=False,
    add_completion=False,
)
app.command("copy")(copy)
app.command("resume")(resume)

SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id, its handle.")]


@app.command("list")
def list_sessions(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List sessions, the one used last first."""
    summaries, away = run(_summaries(options_of(context), limit))
    if away:
        typer.echo(f"flywheel: {away}. Only what this machine knows can be listed", err=True)
    if as_json:
        from msgspec import to_builtins

        print_json(to_builtins(summaries))
    elif summaries:
        columns = ("id", "turns", "last used", "flow", "title")
        table(columns, [(s.id, s.turns, _minute(s.last_active), s.current_flow_id, s.title) for s in summaries])
    else:
        typer.echo("There are no sessions yet.")


def _minute(timestamp: str | None) -> str:
    """A moment to the minute: a listing has to fit a terminal."""
    return (timestamp or "")[:16].replace("T", " ")


async def _summaries(options: Options, limit: int) -> tuple[list[Summary], str | None]:
    """The sessions used last, and why the store was not asked, if it was not."""
    async with options.manager() as sessions:
        summaries, health = await sessions.list_sessions(limit), await sessions.health()
    return summaries, health.error if health.state in ("unavailable", "misconfigured") else None


@app.command()
def show(
    context: typer.Context,
    session_id: SessionId,
    last: Annotated[int, typer.Option(min=0, help="How many of the newest turns.")] = 10,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the stored bytes, also of a damaged or newer document.")
    ] = False,
    aside: Annotated[
        bool, typer.Option("--aside", help="Print the damaged documents that a save moved out of its way.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a session: what it knows, and its newest turns."""
    options = options_of(context)
    if raw or aside:
        print_bytes(run(_aside(options, session_id) if aside else _raw(options, session_id)))
        return
    session = run(_require(options, session_id, last))
    if as_json:
        turns = session.history.older + len(session.history)
        print_json({**session.to_dict(), "shown": {"turns": turns, "first": session.history.older + 1}})
    else:
        from .reading import print_session

        print_session(session)


async def _raw(options: Options, session_id: str) -> bytes:
    from ..errors import SessionNotFound
    from ..session import check_session_id

    async with options.manager() as sessions:
        data = await sessions.own.raw(check_session_id(session_id))
    if data is None:
        raise SessionNotFound(f"no session {session_id!r}: it has expired or never was")
    return data


async def _aside(options: Options, session_id: str) -> bytes:
    from ..errors import SessionNotFound

    async with options.manager() as sessions:
        documents = await sessions.own.aside(session_id)
    if not documents:
        raise SessionNotFound(f"nothing of session {session_id!r} was moved aside")
    return b"\n".join(documents.values())


async def _require(options: Options, session_id: str, last: int | None) -> UniversalSession:
    async with options.manager() as sessions:
        return await sessions.require(session_id, last=last)


@app.command()
def delete(
    context: typer.Context,
    session_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The sessions' ids.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete sessions for good. Their executions stay until they expire."""
    if not yes:
        _ask_first(session_ids)
    missing = run(_delete(options_of(context), session_ids))
    typer.echo(f"deleted: {len(session_ids) - len(missing)}")
    if missing:
        from ..errors import SessionNotFound

        raise SessionNotFound(f"no session {', '.join(map(repr, missing))}")


def _ask_first(session_ids: list[str]) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to ask whether to delete for good: pass --yes")
    typer.confirm(f"Delete {len(session_ids)} session(s) for good?", abort=True)


async def _delete(options: Options, session_ids: list[str]) -> list[str]:
    async with options.manager() as sessions:
        return [session_id for session_id in session_ids if not await sessions.delete_session(session_id)]


@app.command()
def export(
    context: typer.Context,
    session_id: SessionId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Where to; stdout if not given."),
    ] = None,
) -> None:
    """Write a session's whole JSON document, to a file or to stdout."""
    session = run(_require(options_of(context), session_id, None))
    document = session.to_json().encode() + b"\n"
    if output is None:
        print_bytes(document)
    else:
        output.write_bytes(document)
        turns = len(session.history)
        typer.echo(f"wrote session {session_id} with {turns} turns to {output}", err=True)


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", dir_okay=False, help="A document; - reads stdin."),
    ],
    new_id: Annotated[
        bool, typer.Option("--new-id", help="As a new session, whatever there is under its id.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store a session's JSON document. A session that is there already is merged with it, and loses nothing."""
    from ..manager.importing import under_new_id
    from ..session import UniversalSession

    session = UniversalSession.from_json(_read(file))
    if new_id:
        session = under_new_id(session)
    done = run(_import(options_of(context), session))
    if as_json:
        print_json({"session_id": session.id, "created": done.created, "turns_added": done.added})
    elif done.created:
        typer.echo(f"created session {session.id} with {done.added} turns")
    else:
        typer.echo(f"merged into session {session.id}, which was there: {done.added} turns added")


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    return file.read_bytes()


async def _import(options: Options, session: UniversalSession) -> Imported:
    from ..errors import StoreError
    from ..manager.importing import import_session

    async with options.manager() as sessions:
        done = await import_session(sessions, session)
    if done.saved.outcome == "refused":
        raise StoreError(f"not saved: {done.saved.reason}. --new-id stores it as a new session")
    return done
