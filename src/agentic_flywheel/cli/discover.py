"""``flywheel flows discover``: the flows that servers have, ready for the settings."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Options, options_of, run
from .output import print_json, print_text, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ..backends.base import Discovered
    from ..config import Settings

LONGEST_NAME = 40  # characters of a name that somebody has to type
LONGEST_DESCRIPTION = 300  # characters: a model reads the descriptions of all flows at once


@dataclass(frozen=True, slots=True)
class Offer:
    """A flow that a server has. ``flow_id`` is its name in the settings: the one it has there, or a free one."""

    server: str
    flow: str
    name: str
    description: str
    api: str | None
    flow_id: str
    configured: bool


def discover(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Argument(metavar="SERVER", help="Which server of the settings; all if not given.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Append the flows that are not there yet to the settings file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask servers which flows they have, and print tables to paste into the settings file.

    Writes nothing unless told to. Exit code 1 if a server cannot be asked.
    """
    options = options_of(context)
    settings = options.settings()
    found, problems = run(_ask_servers(settings, _servers(settings, server)))
    offers = list(_offers(found, settings))
    if as_json:
        print_json([asdict(offer) for offer in offers])
    else:
        print_text("\n".join(_snippets(found, offers)), end="")
    if write:
        _write(options, offers)
    for problem in problems:
        typer.echo(f"flywheel: {printable(problem)}", err=True)
    raise typer.Exit(1 if problems else 0)


def _servers(settings: Settings, named: str | None) -> list[str]:
    from ..errors import ConfigError

    there_are = ", ".join(settings.servers)
    if not settings.servers:
        raise ConfigError("the settings have no server; add a table [servers.NAME] with backend and url")
    if named is not None and named not in settings.servers:
        raise ConfigError(f"the settings have no server {named!r}; there are {there_are}")
    return list(settings.servers) if named is None else [named]


async def _ask_servers(settings: Settings, names: Sequence[str]) -> tuple[dict[str, list[Discovered]], list[str]]:
    """The flows of each server that answered, and what was wrong with the others."""
    import asyncio

    from ..errors import FlywheelError
    from ..wiring import discover as ask

    answers = await asyncio.gather(*(ask(settings, name) for name in names), return_exceptions=True)
    found: dict[str, list[Discovered]] = {}
    problems: list[str] = []
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, list):
            found[name] = answer
        elif isinstance(answer, FlywheelError):
            problems.append(str(answer))
        else:
            raise answer
    return found, problems


def _offers(found: Mapping[str, Sequence[Discovered]], settings: Settings) -> Iterator[Offer]:
    taken = {"recap", *settings.flows}
    for server, flows in found.items():
        known = {flow.flow or name: name for name, flow in settings.flows.items() if flow.server == server}
        for each in flows:
            name = next((known[other] for other in (each.flow, *sorted(each.also)) if other in known), None)
            flow_id = name or _free(each.name, taken)
            taken.add(flow_id)
            yield Offer(server, each.flow, each.name, each.description, each.api, flow_id, name is not None)


def _free(name: str, taken: set[str]) -> str:
    """A name for a flow that is none of those taken, made of a name that people gave it."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub("[^a-z0-9]+", "-", letters).strip("-")[:LONGEST_NAME].strip("-") or "flow"
    number, free = 1, base
    while free in taken:
        number += 1
        free = f"{base}-{number}"
    return free


def _snippets(found: Mapping[str, Sequence[Discovered]], offers: Sequence[Offer]) -> Iterator[str]:
    """TOML for each server and flow; what is configured already is a comment."""
    for server, flows in found.items():
        yield f"# server {_line(server)}: {len(flows)} flow(s)\n"
        for offer in offers:
            if offer.server == server:
                configured = f"# flows.{offer.flow_id} is there already: {_line(offer.name)}\n"
                yield configured if offer.configured else _table(offer)


def _table(offer: Offer) -> str:
    fields = {
        "server": offer.server,
        "flow": offer.flow,
        "api": offer.api,
        "description": _line(offer.description or offer.name),
    }
    lines = [f"{name} = {_quoted(value)}\n" for name, value in fields.items() if value is not None]
    return f"[flows.{offer.flow_id}]\n" + "".join(lines)


def _line(text: str) -> str:
    """Text of others as one line that does nothing to a terminal, nor to TOML."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_DESCRIPTION else line[: LONGEST_DESCRIPTION - 1] + "…"


def _quoted(text: str) -> str:
    """A string of TOML; JSON writes it in the same way, but for one character."""
    from ..jsontext import encode

    return encode(text).decode().replace("\x7f", "\\u007f")


def _write(options: Options, offers: Sequence[Offer]) -> None:
    from ..config import settings_file

    tables = [_table(offer) for offer in offers if not offer.configured]
    file = settings_file(options.config, os.environ)
    if tables and file:
        _append(file, "\n".join(tables))
    typer.echo(f"added {len(tables)} flow(s) to {file}", err=True)


def _append(file: Path, tables: str) -> None:
    """Append to the settings file: afterwards it has all of it and can be read, or it is as it was."""
    import shutil
    import tempfile
    from pathlib import Path

    from ..config import Settings
    from ..errors import ConfigError

    target = file.resolve()  # the file itself, where its name is a link
    text = target.read_bytes()
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".flywheel-", suffix=".toml", delete=False) as new:
        new.write(text + (b"" if text.endswith(b"\n") else b"\n") + b"\n" + tables.encode())
        new.flush()
        os.fsync(new.fileno())
    try:
        Settings.load(new.name, {})
        shutil.copymode(target, new.name)
        Path(new.name).replace(target)
    except ConfigError as error:
        why = str(error).replace(new.name, str(file))
        raise ConfigError(f"nothing was added, since the file could not be read any more: {why}") from error
    finally:
        Path(new.name).unlink(missing_ok=True)
