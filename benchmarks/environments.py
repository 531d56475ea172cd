"""A virtual environment for each library: their requirements contradict each other."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from .contestants import Entry
from .crew import ROOT, Failed

REQUIREMENTS = Path(__file__).resolve().parent / "requirements"
ENVIRONMENTS = ROOT / ".venv-bench" / "peers"
LONGEST_SECONDS = 600


def install(entries: Iterable[Entry]) -> None:
    """Make all environments that can be made, so that none is made while something is measured."""
    for entry in entries:
        with suppress(Failed):
            interpreter(entry)


@cache
def interpreter(entry: Entry) -> Path:
    """The interpreter of a contestant's environment, which is made if it is not there yet.

    Raises:
        Failed: it cannot be installed; says why.
    """
    if entry.environment is None:
        return Path(sys.executable)
    folder = ENVIRONMENTS / entry.environment
    wanted = REQUIREMENTS / f"{entry.environment}.txt"
    stamp = folder / "installed"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"installing {entry.environment} …", file=sys.stderr, flush=True)
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(folder / "bin" / "python"), *_PIP, "--requirement", str(wanted))
        stamp.write_text(digest)
    return folder / "bin" / "python"


_PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "install")


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"cannot be installed: it took more than {LONGEST_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or ["no reason was given"]
        raise Failed(f"cannot be installed: {said[-1].removeprefix('ERROR: ')}") from None


def versions(entry: Entry) -> dict[str, str]:
    """The versions of a contestant's library, and of the Redis client that it runs on."""
    if entry.environment is None:
        names = ["agentic-flywheel"] if entry.ours else []
        return {name: metadata.version(name) for name in [*names, "redis", "hiredis"]}
    pinned = [line.split("==") for line in (REQUIREMENTS / f"{entry.environment}.txt").read_text().splitlines()]
    return {pin[0]: pin[1] for pin in pinned if pin[0] in (entry.environment, "redis", "hiredis")}
