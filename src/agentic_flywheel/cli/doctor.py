"""``flywheel doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Options, options_of, run
from .output import console, print_json, printable, table

if TYPE_CHECKING:
    from .checks import Finding
    from .origins import Setting


def doctor(
    context: typer.Context,
    reindex: Annotated[
        bool,
        typer.Option("--reindex", help="First find sessions that others wrote, and forget those that are gone."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is configured, what answers and how fast, and what would be lost.

    Exit code 1 if something is wrong. It saves, loads and deletes a throwaway session.
    """
    from .checks import examine_extras, examine_flows, where_of
    from .origins import settings_in_use

    options = options_of(context)
    settings = options.settings()
    used = settings_in_use(options.config, where_of(settings))
    indexed, findings = run(_examine(options, reindex))
    findings = [*findings, *examine_flows(settings), *examine_extras()]
    healthy = all(finding.level != "problem" for finding in findings)
    if as_json:
        report = {"settings": [asdict(s) for s in used], "findings": [asdict(f) for f in findings]}
        print_json({"ok": healthy, "indexed": indexed, **report})
    else:
        _print_report(used, findings, indexed)
    raise typer.Exit(0 if healthy else 1)


async def _examine(options: Options, reindex: bool) -> tuple[int | None, list[Finding]]:
    from ..wiring import open_manager
    from .checks import examine_secrecy, examine_store

    settings = options.settings()
    async with open_manager(settings) as sessions:  # as patient as a server is
        indexed = await sessions.store.reindex() if reindex else None
        found = [*await examine_store(sessions), *examine_secrecy(sessions, settings)]
        return indexed, found


_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def _print_report(used: list[Setting], findings: list[Finding], indexed: int | None) -> None:
    table(("setting", "value", "from"), [(s.name, _shown(s.value), s.source) for s in used])
    out = console()
    out.print()
    if indexed is not None:
        out.print(f"{indexed} sessions are in the index now\n")
    for finding in findings:
        out.print(f"{finding.level:8}", style=_STYLES[finding.level], end="")
        out.print(printable(f"{finding.about}: {finding.says}"), soft_wrap=True)
        if finding.advice:
            out.print(printable(f"{'':8}→ {finding.advice}"), soft_wrap=True)


def _shown(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value)
    return str(value) if value is not None else "none"
