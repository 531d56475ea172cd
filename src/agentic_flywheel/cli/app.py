"""The commands as a whole, and how each of them ends."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import BadInput, ConfigError, FlywheelError, UnknownFlow
from .demo import demo
from .doctor import doctor
from .flows import app as flows
from .journal import app as journal
from .keys import app as keys
from .options import Options
from .serve import mcp
from .sessions import app as sessions
from .users import app as users

app = typer.Typer(
    name="flywheel",
    help="Durable sessions for MCP servers and agent chatflows: conversations that survive a restart.",
    epilog="Settings come from flywheel.toml (or --config) and the FLYWHEEL_… variables; 'flywheel doctor' shows "
    "which ones count. Exit codes: 0 done, 1 failed, 2 bad input.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(mcp)
app.add_typer(sessions, name="sessions")
app.add_typer(flows, name="flows")
app.add_typer(journal, name="journal")
app.add_typer(users, name="users")
app.add_typer(keys, name="keys")
app.command()(doctor)

INTERRUPTED = 130  # what shells give for Ctrl-C


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flywheel {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The settings file, instead of the one that is found.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="SUBJECT", help="Act for this user of the HTTP server: on what they have."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Options(config)
    if user is not None:
        from ..stores.owned import acting_as

        context.with_resource(acting_as(context.obj.principal(user)))
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run() -> int:
    """Run the command line; its exit code. Errors are one line on stderr."""
    # Saves log what they refuse; here the command itself says so.
    logging.getLogger("agentic_flywheel").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):  # half an emoji, which others write, must not end a listing
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # they are text streams
    try:
        return _code_of(app(standalone_mode=False))
    except typer.TyperException as error:
        return _complain(_with_help(error), error.exit_code)
    except (BadInput, ConfigError, UnknownFlow) as error:
        return _complain(str(error), 2)
    except FlywheelError as error:
        return _complain(str(error), 1)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(f"{error.strerror or error}: {error.filename}", 1)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED


def _code_of(result: object) -> int:
    """The exit code of a command that returned: typer hands over the one of ``Exit``."""
    return result if isinstance(result, int) else 0


def _with_help(error: typer.TyperException) -> str:
    """What is wrong with the words of a command, and which command tells the right ones."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or type(error) is typer.BadParameter:  # the words are right, a value is not: it says which
        return message
    return f"{message}{'' if message[-1:] in '.?' else '.'} See '{context.command_path} --help'"


def _complain(message: str, code: int) -> int:
    print("flywheel:", " ".join(message.split()), file=sys.stderr)
    return code
