"""``flywheel demo``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import options_of, run
from .output import console, printable

if TYPE_CHECKING:
    from ..config import Settings
    from ..mcp_server.demo import Held
    from .entry import ServerEntry


def demo(
    context: typer.Context,
    redis: Annotated[
        str | None, typer.Option("--redis", metavar="URL", help="Hold the conversation on this Redis.")
    ] = None,
) -> None:
    """Hold a conversation over MCP, kill the server half-way, and go on where it was.

    Starts the real server as a process, talks to it through the MCP SDK's own client, kills it with SIGKILL,
    starts another one and checks that nothing was lost. The session stays in your store, so that you can go
    on with it; 'flywheel sessions' lists and deletes it. Needs no network, no account and no key.
    """
    options = options_of(context)
    settings = options.settings(redis)
    _check(settings)
    from ..mcp_server.demo import hold_conversation
    from .entry import server_entry

    entry = server_entry(settings, options.config, redis)
    narrator = _Printer()
    held = run(hold_conversation((entry.command, *entry.arguments), entry.variables, narrator))
    _conclude(held, entry)
    raise typer.Exit(1 if held.faults else 0)


def _check(settings: Settings) -> None:
    """Refuse what cannot be shown, before anything is started."""
    from importlib.util import find_spec

    from ..errors import BadInput, MissingExtra
    from ..wiring import open_store

    if open_store(settings).name == "memory":
        raise BadInput("the settings keep sessions in memory only, where none survives a restart")
    if find_spec("mcp") is None:
        raise MissingExtra("the demo", "mcp")


class _Printer:
    """Tells the demo on the terminal."""

    def __init__(self) -> None:
        self._out = console()

    def event(self, text: str) -> None:
        self._out.print(f"\n── {text}", style="cyan", soft_wrap=True)

    def said(self, question: str, answer: str) -> None:
        self._out.print(f"   you    {question}", soft_wrap=True)
        for place, line in enumerate(answer.splitlines()):
            self._out.print(f"   {'' if place else 'recap':6} {printable(line)}", soft_wrap=True)

    def resumed(self, view: Mapping[str, Any]) -> None:
        self.event(f"resumed the session by its handle: {view['turns']} turns are there, and the context")
        for key, value in view["context"].items():
            self._out.print(f"   knows  {printable(key)}: {printable(value)}", soft_wrap=True)
        for turn in view["last_turns"]:
            self._out.print(f"   turn   {turn['timestamp']}  {printable(turn['question'])}", soft_wrap=True)


def _conclude(held: Held, entry: ServerEntry) -> None:
    out = console()
    out.print()
    if held.faults:
        for fault in held.faults:
            out.print(f"LOST: {fault}", style="bold red", soft_wrap=True)
        return
    out.print("Nothing was lost: the answer needed what was said before the kill.", style="bold green")
    out.print(f"\nThe conversation is stored in {held.where}", soft_wrap=True)
    out.print(f"  {entry.shell_line('sessions', 'show', held.session_id)}", soft_wrap=True)
    out.print("\nTo go on with it in your MCP client, put this into its settings:\n")
    from msgspec import json

    out.print(json.format(json.encode(entry.snippet()), indent=2).decode(), soft_wrap=True)
    if entry.hides_password:
        out.print("\nand put the password of your Redis in the place of PASSWORD.")
