"""``flywheel users``: who may call over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import print_json

app = typer.Typer(
    help="The people and programs that may call over HTTP.",
    no_args_is_help=False,
    add_completion=False,
)


@app.callback()
def _users() -> None:
    """Typer makes a group of commands of it by this, also while there is one command only."""


@app.command()
def token(
    subject: Annotated[str, typer.Argument(help="Whose token it is: the name that its sessions belong to.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="For how many days it counts; for ever if not given.")
    ] = None,
    scope: Annotated[list[str] | None, typer.Option(help="What it allows; may be given several times.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Make a token, and the line for the table of tokens that lets it in.

    The token is shown this once: nothing keeps it, and the line does not tell it. Put the line into the file that
    http.auth.tokens_file names; running servers read it again by themselves.
    """
    from ..mcp_server.tokens import new_token

    secret, line = new_token(subject, days=days, scopes=scope or ())
    if as_json:
        print_json({"token": secret, "line": line})
    else:
        typer.echo(f"token for the client, shown this once:\n{secret}\n\nline for the table of tokens:\n{line}")
