"""``flywheel flows run``: ask a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson, options_of, run
from .output import print_json, print_text

if TYPE_CHECKING:
    from ..config import Settings
    from ..flywheel import Reply


def ask(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[FLOW] QUESTION",
            help="Whom to ask (the session's flow or the default, if not given), and what.",
        ),
    ],
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="The session to go on with; a new one if not given.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A parameter for this run, JSON or else text; may be repeated."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer as it comes, where the flow streams.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a flow, record the turn, and print the answer. The session's id goes to stderr."""
    if len(words) > 2:
        raise typer.BadParameter(f"there are {len(words)} words; put the question into quotes")
    printer = _Printer()
    reply = run(
        _ask(
            options_of(context).settings(),
            words[-1],
            flow=words[0] if len(words) == 2 else None,
            session_id=session,
            parameters=dict(_parameter(each) for each in param or []),
            on_text=printer.take if stream and not as_json else None,
        )
    )
    if as_json:
        from dataclasses import asdict

        print_json(asdict(reply))
        return
    printer.finish(reply.text)
    kept = (
        "" if reply.saved else f", not on record ({reply.saved.outcome}): {reply.saved.reason or reply.saved.where}"
    )
    typer.echo(f"session {reply.session_id}{kept}", err=True)


async def _ask(settings: Settings, question: str, **how: Any) -> Reply:
    from ..flywheel import Flywheel

    async with Flywheel.from_settings(settings) as flywheel:
        return await flywheel.ask(question, **how)


class _Printer:
    """Prints an answer, as much of it as comes in pieces at once, and the rest at its end."""

    def __init__(self) -> None:
        self._printed = ""

    def take(self, piece: str) -> None:
        """Print a piece of the answer."""
        print_text(piece, end="")
        self._printed += piece

    def finish(self, answer: str) -> None:
        """Print what is not printed yet; all of it again, if the pieces were not the beginning of the answer."""
        if answer.startswith(self._printed):
            print_text(answer[len(self._printed) :])
        else:
            print_text("\n" + answer)


def _parameter(text: str) -> tuple[str, Any]:
    from ..jsontext import decode

    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter("--param has the form NAME=VALUE")
    try:
        return name, decode(value)
    except ValueError:
        return name, value
