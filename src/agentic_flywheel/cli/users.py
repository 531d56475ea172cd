"""``flywheel users``: who may call over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Options, options_of, run
from .output import print_json

app = typer.Typer(
    help="The people and programs that may call over HTTP.",
    no_args_is_help=False,
    add_completion=False,
)


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


@app.command()
def erase(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(help="The name that their tokens have.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Remove everything that a user has, for good: sessions, executions, histories, what waits in this journal.

    Take their tokens away first. Afterwards it is looked for once more, and an error says if something is left.
    What waits in the journals of other machines is not reached: run it there, too.
    """
    if not yes:
        typer.confirm(f"Remove everything that {subject!r} has, for good?", abort=True)
    options = options_of(context)
    erased = run(_erase(options, options.principal(subject)))
    if as_json:
        print_json({"subject": subject, "erased": erased, "left": 0})
    else:
        typer.echo(f"erased {erased} things of {subject!r}; nothing is left")


async def _erase(options: Options, principal: str) -> int:
    from ..manager import erase_everything

    async with options.manager() as sessions:
        return await erase_everything(sessions, principal)
