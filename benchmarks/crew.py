"""The harness's end of a contestant's process."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from .contestants import Entry

ROOT = Path(__file__).resolve().parent.parent
LONGEST_ANSWER = 64 * 1024**2


class Failed(Exception):
    """A contestant could not do what it was told; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured, and how many turns had been accepted before they were in the store."""

    values: list[float]
    late: int


class Crew:
    """One contestant in a process of its own."""

    def __init__(self, entry: Entry, process: Process) -> None:
        self.entry = entry
        self._process = process

    @classmethod
    async def start(cls, entry: Entry, python: Path, url: str, folder: Path, patience: float) -> Self:
        """Start the process with an interpreter, and connect.

        Raises:
            Failed: the library cannot be imported, or cannot work with this server.
        """
        command = (str(python), "-m", f"{__package__}.worker", entry.name, url, str(folder))
        with _log(folder) as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                cwd=folder,
                env=_environment(folder),
                limit=LONGEST_ANSWER,
            )
        crew = cls(entry, process)
        try:
            await crew.ask("start", patience=patience)
        except Failed:
            await crew.close()
            raise
        return crew

    async def ask(self, what: str, *, patience: float, **arguments: Any) -> Answer:
        """What the contestant measured.

        Raises:
            Failed: it raised, ended, or took longer than ``patience`` seconds; in the last case it is ended.
        """
        if self._process.returncode is not None or self._process.stdin is None or self._process.stdout is None:
            raise Failed("its process has ended")
        self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        try:
            async with asyncio.timeout(patience):
                line = await self._process.stdout.readline()
        except TimeoutError:
            self._process.kill()
            raise Failed(f"was ended after {patience:.0f} s of {what.replace('_', ' ')}") from None
        return _answer(line)

    async def close(self) -> None:
        """End the process."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


def _log(folder: Path) -> BinaryIO:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "log").open("wb")


def _answer(line: bytes) -> Answer:
    if not line:
        raise Failed("its process ended")
    told = json.loads(line)
    if "error" in told:
        raise Failed(told["error"])
    return Answer(told["values"], told["late"])


def _environment(folder: Path) -> dict[str, str]:
    """The environment variables of whoever runs the benchmark, without settings that would reach a contestant."""
    settings = ("FLYWHEEL_", "REDIS_", "XDG_")
    outer = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    return outer | {"HOME": str(folder), "PYTHONPATH": str(ROOT), "OTEL_SDK_DISABLED": "true"}
