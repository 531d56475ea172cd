"""``flywheel flows``: which flows there are, and whether they can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .ask import ask
from .discover import discover
from .options import AsJson, Options, options_of, run
from .output import print_json, printable, table

if TYPE_CHECKING:
    from ..backends import Flow
    from ..config import FlowSettings, Settings

CHECK_SECONDS = 10.0
"""The longest that a server is waited for, which is asked for what it knows at once."""

app = typer.Typer(
    help="Look at flows, find those of a server, and ask them.", no_args_is_help=False, add_completion=False
)


@app.command("list")
def list_flows(context: typer.Context, as_json: AsJson = False) -> None:
    """List the flows of the settings. No server is asked."""
    settings = options_of(context).settings()
    lines = {"recap": _built_in(), **{name: _line(flow, settings) for name, flow in settings.flows.items()}}
    default = settings.default_flow
    if as_json:
        print_json([{"flow_id": name, **line, "is_default": name == default} for name, line in lines.items()])
        return
    rows = [(name, *_cells(line), "default" if name == default else "") for name, line in lines.items()]
    table(("flow", "backend", "server", "description", "keywords", ""), rows)


def _built_in() -> dict[str, Any]:
    from ..backends.recap import RecapFlow

    flow = RecapFlow()
    return {"backend": flow.backend, "server": None, "description": flow.description, "keywords": []}


def _line(flow: FlowSettings, settings: Settings) -> dict[str, Any]:
    return {
        "backend": settings.backend_of(flow),
        "server": flow.server,
        "description": flow.description,
        "keywords": list(flow.keywords),
    }


def _cells(line: dict[str, Any]) -> tuple[str | None, ...]:
    return line["backend"], line["server"], line["description"], ", ".join(line["keywords"])


app.command("discover")(discover)


@app.command()
def check(
    context: typer.Context,
    flows: Annotated[
        list[str] | None, typer.Argument(metavar="FLOW...", help="Which flows; all if none is named.")
    ] = None,
) -> None:
    """Ask the servers whether they would run their flows; runs none. Exit code 1 if one would not."""
    told = run(_check(options_of(context), flows or []))
    for flow, problem, says in told:
        typer.echo(f"{'problem' if problem else 'ok':8}" + printable(f"{flow}: {says}"))
    raise typer.Exit(1 if any(problem for _, problem, _ in told) else 0)


async def _check(options: Options, names: list[str]) -> list[tuple[str, bool, str]]:
    import asyncio

    from ..wiring import open_flows

    flows = open_flows(options.settings())
    try:
        wanted = [flows.get(name) for name in names] or list(flows)
        return await asyncio.gather(*(_checked(flow) for flow in wanted))
    finally:
        await flows.close()


async def _checked(flow: Flow) -> tuple[str, bool, str]:
    import asyncio

    from ..errors import FlowError

    seconds = min(flow.timeout, CHECK_SECONDS)
    try:
        async with asyncio.timeout(seconds):
            return flow.id, False, await flow.check()
    except TimeoutError:
        return flow.id, True, f"its server did not answer within {seconds:g} s"
    except FlowError as error:
        return flow.id, True, str(error)


app.command("run")(ask)
