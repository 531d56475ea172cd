"""``flywheel keys``: master keys, and the keys of sessions that they wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .options import AsJson, Options, options_of, run
from .output import print_json, printable

if TYPE_CHECKING:
    from ..manager.vault import Rotated

app = typer.Typer(
    help="The keys with which sessions are encrypted.",
    no_args_is_help=False,
    add_completion=False,
)


@app.command()
def new() -> None:
    """Make a master key, for FLYWHEEL_MASTER_KEYS or the file of encryption.keys_file. Nothing keeps it."""
    import base64

    from ..secrecy.sealing import new_key

    typer.echo(base64.b64encode(new_key()).decode())


@app.command()
def rotate(context: typer.Context, as_json: AsJson = False) -> None:
    """Wrap the keys of all sessions by the first master key. Exit code 1 if some could not be.

    After that the other master keys are needed for older backups only. Keys of sessions that have ended expire
    when the last of their executions has.
    """
    done = run(_rotate(options_of(context)))
    if as_json:
        print_json({"sessions": done.sessions, "wrapped": done.wrapped, "ended": done.ended, "failed": done.failed})
    else:
        typer.echo(
            f"{done.sessions} sessions have keys; wrapped anew: {done.wrapped}, of ended sessions: {done.ended}"
        )
        for session_id, reason in done.failed.items():
            typer.echo(printable(f"failed: {session_id}: {reason}"), err=True)
    raise typer.Exit(1 if done.failed else 0)


async def _rotate(options: Options) -> Rotated:
    from ..errors import ConfigError
    from ..wiring import longest_kept

    async with options.manager() as sessions:
        if sessions.forms.vault is None:
            raise ConfigError(
                "there is no master key, and nothing is encrypted; 'flywheel keys new' makes one for "
                "FLYWHEEL_MASTER_KEYS"
            )
        return await sessions.forms.vault.rotate(sessions, longest=longest_kept(options.settings()))
