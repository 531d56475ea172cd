"""A session, printed for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import console, printable

if TYPE_CHECKING:
    from ..session import Turn, UniversalSession


def print_session(session: UniversalSession) -> None:
    """Print what a session knows, and the turns of it that were loaded."""
    from ..codec import title_of
    from ..session.values import plain

    out = console()
    older, loaded = session.history.older, len(session.history)
    out.print(printable(f"{session.id}  {title_of(session) or ''}".rstrip()), style="bold")
    out.print(
        printable(
            f"{session.status}, {session.backend}, flow {session.current_flow_id or '(none yet)'}, "
            f"since {session.metadata.get('created_at')}, last used {session.metadata.get('last_active')}"
        )
    )
    for key, value in session.context.items():
        out.print(printable(f"  {key}: ") + printable(plain(value, "context")), soft_wrap=True)
    shown = "" if not older else f", the newest {loaded} of them"
    out.print(f"{older + loaded} turns{shown}")
    for turn in session.history:
        print_turn(turn)


def print_turn(turn: Turn) -> None:
    """Print one turn; one of another shape, which others write, as its JSON."""
    from ..session.values import plain

    out = console()
    out.print()
    if turn.question is None and turn.response is None:
        out.print(printable(plain(dict(turn), "turn")), soft_wrap=True)
        return
    milliseconds = "" if turn.duration_ms is None else f", {turn.duration_ms} ms"
    out.print(printable(f"{turn.timestamp}  {turn.flow_id or ''}{milliseconds}"), style="dim")
    out.print("> " + printable(plain(turn.question, "turn")), soft_wrap=True)
    out.print(printable(plain(turn.response, "turn")), soft_wrap=True)
