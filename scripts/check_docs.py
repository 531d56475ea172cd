"""Checks the documentation against the code, and writes those parts of it that come from the code.

    python scripts/check_docs.py            exit code 1, a line for each fault
    python scripts/check_docs.py --write    bring the generated parts of docs/reference.md up to date

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``. Beside them it checks
that every internal link leads somewhere, and that every setting, default and environment variable is documented.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = Path("docs/reference.md")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md")

# The public names, by the module that people import them from; where a class has members that are not meant for
# everybody, the ones that are.
API: dict[str, dict[str, tuple[str, ...] | None]] = {
    "agentic_flywheel": {
        "UniversalSession": ("record", "ttl_seconds", "to_dict", "from_dict", "to_json", "from_json"),
        "Turn": ("id", "timestamp", "question", "flow_id", "response", "duration_ms"),
        "History": ("copy",),
        "Execution": ("to_dict", "from_dict"),
        "SessionManager": None,
        "Saved": None,
        "Loaded": None,
        "Health": None,
        "Flywheel": None,
        "FlywheelError": None,
    },
    "agentic_flywheel.integrations": {"RedisSessionManager": None},
    "agentic_flywheel.integrations.mcp": {
        "DurableSessions": ("close", "lifespan", "middleware"),
        "State": None,
        "get_state": None,
    },
    "agentic_flywheel.integrations.fastmcp": {
        "DurableSessions": ("close",),
        "State": None,
        "get_state": None,
        "SessionStateStore": ("get", "ttl", "put", "delete", "close", "lifespan"),
    },
    "agentic_flywheel.flywheel": {"Reply": None, "Resumed": None, "Packet": None, "LeftOut": None},
    "agentic_flywheel.manager": {"Interrupted": ()},
    "agentic_flywheel.codec": {"Summary": None},
    "agentic_flywheel.backends": {"Flow": None, "Question": None, "Answer": None, "FlowRegistry": None},
    "agentic_flywheel.config": {"Settings": None, "TimesToLive": (), "Limits": ()},
}


def main(arguments: list[str]) -> int:
    """Write or check; the exit code."""
    if arguments not in ([], ["--write"]):
        print(__doc__, file=sys.stderr)
        return 2
    if arguments:
        write(ROOT)
    faults = list(faults_of(ROOT))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def write(root: Path) -> None:
    """Bring the generated parts up to date."""
    page = root / REFERENCE
    page.write_text(with_parts(page.read_text("utf-8")), "utf-8")


def faults_of(root: Path) -> Iterator[str]:
    """A line for each thing that is wrong with the documentation under a folder."""
    reference = (root / REFERENCE).read_text("utf-8")
    absent = [name for name in PARTS if f"<!-- generated: {name} -->" not in reference]
    yield from (f"{REFERENCE}: has no place for the generated part {name!r}" for name in absent)
    if reference != with_parts(reference):
        yield f"{REFERENCE}: is out of date; run: python scripts/check_docs.py --write"
    yield from settings_faults(reference)
    yield from variable_faults(reference)
    yield from link_faults(root)


def with_parts(text: str) -> str:
    """A page with its generated parts as the code has them now."""
    for name, make in PARTS.items():
        start, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if found and closed:
            text = f"{before}{start}\n{make().strip()}\n\n{end}{after}"
    return text


# The public names


def api_part() -> str:
    """Signatures and docstrings of the public names."""
    lines: list[str] = []
    for module, names in API.items():
        found = importlib.import_module(module)
        forgotten = set(getattr(found, "__all__", ())) - set(names) if module == "agentic_flywheel" else set()
        if forgotten:
            raise SystemExit(f"scripts/check_docs.py: API lacks {sorted(forgotten)} of {module}")
        lines += [f"### From `{module}`", ""]
        for name, members in names.items():
            value = getattr(found, name)
            is_class = isinstance(value, type)
            lines += class_lines(value, members) if is_class else [f"#### `{name}`", "", *member_lines(name, value)]
    return "\n".join(lines)


def class_lines(kind: type, members: tuple[str, ...] | None) -> list[str]:
    """A class: how it is made, what it is, what it can do."""
    made = signature(kind) if is_made_by_people(kind) else ""
    lines = [f"#### `{kind.__name__}`", "", *code(f"class {kind.__name__}{made}"), "", prose(kind.__doc__), ""]
    for name, member in public_members(kind, members):
        lines += member_lines(name, member)
    return lines


def is_made_by_people(kind: type) -> bool:
    """Whether a class has a signature worth showing."""
    return not issubclass(kind, BaseException) and kind.__name__ not in ("Turn", "Settings", "State")


def public_members(kind: type, only: tuple[str, ...] | None) -> Iterator[tuple[str, Any]]:
    """Methods and properties that a class defines itself, in their order there."""
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    for name, member in vars(kind).items():
        wanted = only is None or name in only
        callable_member = isinstance(member, classmethod | property) or inspect.isfunction(member)
        if wanted and callable_member and not name.startswith("_") and name not in fields:
            yield name, member


def member_lines(name: str, member: Any) -> list[str]:
    """A method or a property."""
    if isinstance(member, property):
        returns = inspect.signature(member.fget).return_annotation if member.fget else "Any"
        return [*code(f"{name}: {returns}"), "", prose(member.__doc__), ""]
    function = member.__func__ if isinstance(member, classmethod) else member
    word = "classmethod " if isinstance(member, classmethod) else ""
    word += "async " if inspect.iscoroutinefunction(function) else ""
    return [*code(f"{word}{name}{signature(function)}"), "", prose(function.__doc__), ""]


class _Bare(str):
    """An annotation that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def signature(function: Any) -> str:
    """A signature, its annotations as they stand in the code, without ``self`` and ``cls``."""
    found = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=_bare(parameter.annotation), default=_default(parameter))
        for parameter in found.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    returns = inspect.Signature.empty if isinstance(function, type) else _bare(found.return_annotation)
    text = str(found.replace(parameters=parameters, return_annotation=returns))
    if len(text) <= 90:
        return text
    after = "" if returns is inspect.Signature.empty else f" -> {returns}"
    return "(\n" + "".join(f"    {piece},\n" for piece in _pieces(parameters)) + ")" + after


def _pieces(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    """Parameters one by one, with the star before those that are passed by name only."""
    starred = False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        yield str(parameter)


def _bare(annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _Bare(re.sub(r"\bagentic_flywheel(\.\w+)+\.", "", text))


def _default(parameter: inspect.Parameter) -> Any:
    if parameter.default is inspect.Parameter.empty:
        return parameter.default
    shown = repr(parameter.default)
    return _Bare("…") if shown.startswith(("<", "functools")) else parameter.default


def code(text: str) -> list[str]:
    """A block of Python that is shown and not run."""
    return ["```text", text, "```"]


_SECTION = re.compile(r"^(Args|Raises|Attributes):$")
_ENTRY = re.compile(r"^ {4}(\S[^:]*): (.*)$")


def prose(docstring: str | None) -> str:
    """A docstring as Markdown."""
    text = inspect.cleandoc(docstring or "").replace("``", "`")
    lines: list[str] = []
    for line in text.splitlines():
        entry = _ENTRY.match(line) if any(_SECTION.match(seen) for seen in lines) else None
        if entry:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(line)
    return _as_markdown(lines)


def _as_markdown(lines: list[str]) -> str:
    """Sections become bold words, and what follows ``::`` a block."""
    result: list[str] = []
    in_block = False
    for line in lines:
        if line.endswith("::"):
            result += [line[:-2].rstrip(), "```text"] if line != "::" else ["```text"]
            in_block = True
        elif in_block and line and not line.startswith(" "):
            result += ["```", "", line]
            in_block = False
        elif in_block:
            result += [line[4:]] if line else []
        elif _SECTION.match(line):
            result += [f"**{line}**", ""]
        else:
            result.append(re.sub(r"^ {8}", "  ", line))
    return "\n".join([*result, "```"] if in_block else result)


def errors_part() -> str:
    """The tree of errors, as it stands at the top of the module."""
    from agentic_flywheel import errors

    return prose(errors.__doc__)


# The command line


def cli_part() -> str:
    """What ``--help`` says, command by command."""
    import typer

    from agentic_flywheel.cli.app import app

    lines: list[str] = []
    for words in _commands(typer.main.get_command(app), ("flywheel",)):
        lines += [f"### `{' '.join(words)}`", "", "```text", _help(words), "```", ""]
    return "\n".join(lines)


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*words, name))


@cache
def _help(words: tuple[str, ...]) -> str:
    """In a process of its own: whether Typer draws boxes is settled when it is imported."""
    plain = {**os.environ, "TYPER_USE_RICH": "0", "COLUMNS": "100"}  # the same at any width of the terminal
    code = "import sys; sys.argv[0] = 'flywheel'; from agentic_flywheel.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words[1:], "--help"], capture_output=True, text=True, env=plain, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} --help failed: {done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


# The MCP server


def mcp_part() -> str:
    """Tools, resources and prompts as the server announces them."""
    from agentic_flywheel.config import Settings
    from agentic_flywheel.flywheel import Flywheel
    from agentic_flywheel.mcp_server import build_server

    server = build_server(Flywheel.from_settings(Settings()))
    return asyncio.run(_announced(server))


async def _announced(server: Any) -> str:
    lines: list[str] = []
    shared: dict[str, Any] = {}
    for tool in await server.list_tools():
        lines += [f"### Tool `{tool.name}`", "", tool.description, ""]
        lines += ["Takes:", "", *fields_of(tool.input_schema), ""]
        lines += ["Gives:", "", *fields_of(tool.output_schema), ""]
        shared |= tool.output_schema.get("$defs", {})
    for name, schema in sorted(shared.items()):
        lines += [f"### `{name}`", "", schema.get("description", ""), "", *fields_of(schema), ""]
    for resource in await server.list_resource_templates():
        lines += [f"### Resource `{resource.uri_template}`", "", resource.description, ""]
    for prompt in await server.list_prompts():
        taken = ", ".join(f"`{argument.name}` ({argument.description})" for argument in prompt.arguments or ())
        lines += [f"### Prompt `{prompt.name}`", "", f"{prompt.title}. {prompt.description} Takes: {taken}.", ""]
    return "\n".join(lines)


def fields_of(schema: Mapping[str, Any]) -> list[str]:
    """The fields of an object as a table."""
    properties = schema.get("properties", {})
    if not properties:
        return ["nothing."]
    required = set(schema.get("required", ()))
    rows = [
        (f"`{name}`", _type_of(field), _standing(name, field, required), field.get("description", ""))
        for name, field in properties.items()
    ]
    return table(("field", "type", "default", "meaning"), rows)


def _type_of(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if "anyOf" in field:
        return " or ".join(_type_of(choice) for choice in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array" and "items" in field:
        return f"array of {_type_of(field['items'])}"
    if "const" in field:
        return f"`{str(field['const']).lower()}`"
    bounds = [f"{sign} {field[key]}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in field]
    return " ".join([field.get("type", "any JSON value"), *bounds])


def _standing(name: str, field: Mapping[str, Any], required: set[str]) -> str:
    if name in required:
        return "required"
    default = field.get("default")
    return "none" if default is None else f"`{json.dumps(default)}`"


# Tables that stand in the code


def keys_part() -> str:
    """The keys in Redis."""
    from agentic_flywheel.stores import redis_keys

    return docstring_table(redis_keys.__doc__, ("key", "holds"))


def values_part() -> str:
    """The Python values that JSON lacks, and how they are written."""
    from agentic_flywheel.session import values

    return docstring_table(values.__doc__, ("value", "written as"))


def variables_part() -> str:
    """The environment variables."""
    from agentic_flywheel import config

    rows = [(f"`{name}`", meaning) for name, meaning in docstring_rows(config.__doc__)]
    return "\n".join(table(("variable", "meaning (default)"), rows))


def sqlite_part() -> str:
    """The tables of the SQLite file."""
    from agentic_flywheel.stores import sqlite_schema

    return docstring_table(sqlite_schema.__doc__, ("table", "holds"))


def docstring_table(docstring: str | None, columns: tuple[str, ...]) -> str:
    """The table of a docstring in Markdown."""
    return "\n".join(table(columns, docstring_rows(docstring)))


def docstring_rows(docstring: str | None) -> list[tuple[str, str]]:
    """The rows of the table that stands between lines of ``=`` in a docstring."""
    body = re.split(r"^=+ +=+$", inspect.cleandoc(docstring or ""), flags=re.MULTILINE)[1]
    rows: list[tuple[str, str]] = []
    for line in filter(str.strip, body.splitlines()):
        first, _, second = line.replace("``", "`").partition("  ")
        if first:
            rows.append((first, second.strip()))
        else:
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {second.strip()}")
    return rows


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    columns = tuple(columns)
    lines = [columns, ("---",) * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def document_part() -> str:
    """A session as Redis holds it, made by the code that writes it."""
    from agentic_flywheel import UniversalSession
    from agentic_flywheel.jsontext import encode
    from agentic_flywheel.session.parts import pack_head
    from agentic_flywheel.stores import Mark
    from agentic_flywheel.stores.redis_layout import compose

    moment = "2025-11-18T10:00:00.000000Z"
    metadata = {"created_at": moment, "last_active": moment}
    session = UniversalSession(backend="custom", id="session_abc123", metadata=metadata)
    session.context["topic"] = "structural tension"
    for number in (1, 2):
        session.record(
            id=f"turn_{number}",
            timestamp=moment,
            question=f"question {number}",
            flow_id="recap",
            response=f"answer {number}",
            duration_ms=12,
        )
    session.metadata["last_active"] = moment
    head, last_active = pack_head(session.head())
    lines = [encode(dict(turn)) for turn in session.history]
    raw = compose(Mark("7c8d3fddf6bdf032", "d66feb0807c943c4", 2, 2), head, last_active, lines, 604800)
    return "\n".join(["```text", re.sub(r" {24,}", _spaces, raw.decode()), "```"])


def _spaces(found: re.Match[str]) -> str:
    return f" … {len(found[0])} spaces … "


PARTS: dict[str, Callable[[], str]] = {
    "api": api_part,
    "errors": errors_part,
    "values": values_part,
    "cli": cli_part,
    "variables": variables_part,
    "mcp": mcp_part,
    "keys": keys_part,
    "document": document_part,
    "sqlite": sqlite_part,
}


# What has to be documented


def settings_faults(reference: str) -> Iterator[str]:
    """Settings that the table of settings lacks, has too much, or gives another default."""
    section = reference.partition("\n## Settings\n")[2].partition("\n#")[0]
    documented = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*?) \|", section, flags=re.MULTILINE))
    defaults = dict(_settings())
    for name in sorted(defaults.keys() | documented.keys()):
        if name not in documented:
            yield f"{REFERENCE}: the setting {name} is not documented"
        elif name not in defaults:
            yield f"{REFERENCE}: there is no setting {name}"
        elif documented[name] != defaults[name]:
            yield f"{REFERENCE}: the default of {name} is {defaults[name]}, not {documented[name]}"


def _settings() -> Iterator[tuple[str, str]]:
    """Every setting of flywheel.toml with its default as the table shows it."""
    from agentic_flywheel.config import Settings

    return _settings_of(Settings, "")


def _settings_of(kind: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, str]]:
    from agentic_flywheel.config import FlowSettings, ServerSettings

    named: dict[str, type[msgspec.Struct]] = {"servers": ServerSettings, "flows": FlowSettings}
    for field in msgspec.structs.fields(kind):
        name = prefix + field.name
        if name in named:
            yield from _settings_of(named[name], f"{name}.NAME.")
        elif isinstance(field.default, msgspec.Struct):
            yield from _settings_of(type(field.default), f"{name}.")
        elif field.required:
            yield name, "required"
        else:
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            yield name, _shown(default)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def variable_faults(reference: str) -> Iterator[str]:
    """Environment variables that the code reads and the reference does not name."""
    pattern = re.compile(r"[\"'](FLYWHEEL_[A-Z_]+|REDIS_URL)[\"']")
    for path in sorted((ROOT / "src").rglob("*.py")):
        for name in sorted(set(pattern.findall(path.read_text("utf-8")))):
            if f"`{name}`" not in reference:
                yield f"{REFERENCE}: the variable {name}, which {path.name} reads, is not documented"


# Links


def link_faults(root: Path) -> Iterator[str]:
    """Links of a page to a file or a heading that is not there."""
    pages = sorted({page for pattern in PAGES for page in root.glob(pattern)})
    for page in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            if not found.exists():
                yield f"{page.relative_to(root)}: {target} leads to no file"
            elif anchor and anchor not in anchors(found.read_text("utf-8")):
                yield f"{page.relative_to(root)}: {target} leads to no heading"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", without_code(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", textwrap.dedent(text), flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
