"""The examples of a page, as people would run them from top to bottom."""

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

PATIENT = "\n[journal]\nbudget_ms = 20000\n"
"""Settings for a machine that is busy with other tests: an example that says "stored" means a healthy Redis."""

NOT_RUN = "# not run by the tests"
_BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./]+\.(?:py|toml))\n")
_SHOWN = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page. ``file`` is what its first line names: then it is a file, not something to run."""

    text: str
    line: int
    file: str | None

    @property
    def shown(self) -> list[str]:
        """What it prints, as its own comments say."""
        return _SHOWN.findall(self.text)


def blocks_of(page: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = (ROOT / page).read_text("utf-8")
    for found in _BLOCK.finditer(text):
        kind, body = found.groups()
        line = text.count("\n", 0, found.start(2))
        name = _FILE.match(body)
        assert kind == "python" or name, f"{page}:{line}: the first line of a TOML block names its file"
        yield Block(body, line, name[1] if name else None)


def follow(page: str, folder: Path) -> None:
    """Do what a page says, in a folder: write its files there, run its blocks, compare what they print."""
    names: dict[str, Any] = {}
    (folder / "flywheel.toml").write_text(PATIENT, "utf-8")
    with asyncio.Runner() as runner:
        for block in blocks_of(page):
            if block.file:
                patience = PATIENT if block.file == "flywheel.toml" else ""
                (folder / block.file).write_text(block.text + patience, "utf-8")
            elif not block.text.startswith(NOT_RUN):
                printed = _run(block, page, names, runner)
                assert printed == block.shown, f"{page}:{block.line}: what is printed is not what the page says"


def _run(block: Block, page: str, names: dict[str, Any], runner: asyncio.Runner) -> list[str]:
    tree = ast.increment_lineno(ast.parse(block.text), block.line)
    code = compile(tree, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    out = StringIO()
    with redirect_stdout(out):
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(_awaited(code, names))
        else:
            exec(code, names)  # noqa: S102  # the page's own example
    return out.getvalue().splitlines()


async def _awaited(code: Any, names: dict[str, Any]) -> None:
    await eval(code, names)  # noqa: S307  # the page's own example
