"""``flywheel sessions resume``: what it takes to go on with a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson, options_of, run
from .output import print_json, print_text

if TYPE_CHECKING:
    from ..config import Settings
    from ..flywheel import Packet

MORE = (
    "'flywheel sessions resume' with more --tokens; 'flywheel sessions show ID --last N' has turns whole, "
    "'flywheel sessions export ID' everything"
)


def resume(
    context: typer.Context,
    session_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The session's id; the one used last if not given.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="What it may cost a model, estimated.")] = 2000,
    last: Annotated[int, typer.Option(min=0, help="How many turns word for word, if they fit.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Print what it takes to go on with a session, in a limited number of tokens, to be pasted to any model.

    That is its context, its newest turns word for word, older ones in a line each, and the last question, if it
    was never answered. An MCP client gets the same from the tool resume_session.
    """
    form = "json" if as_json else "text"
    packet = run(
        _packet(options_of(context).settings(), session_id, tokens=tokens, last=last, forms=[form], more=MORE)
    )
    if as_json:
        print_json(packet.to_dict())
    else:
        print_text(packet.to_text())


async def _packet(settings: Settings, session_id: str | None, **how: Any) -> Packet:
    from ..flywheel import Flywheel

    async with Flywheel.from_settings(settings) as flywheel:
        return await flywheel.packet(session_id, **how)
