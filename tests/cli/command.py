"""The command line as people run it: a process of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Ended:
    """What a command printed, and its exit code."""

    code: int
    raw: bytes
    errors: str

    @property
    def text(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        assert self.code in (0, 1), self.errors
        return json.loads(self.raw)


def flywheel(*arguments: str, input: bytes = b"") -> Ended:
    """Run `flywheel` with these arguments."""
    command = [sys.executable, "-m", "agentic_flywheel.cli", *arguments]
    done = subprocess.run(command, input=input, capture_output=True, timeout=PATIENCE, check=False)
    return Ended(done.returncode, done.stdout, done.stderr.decode())


def fails(code: int, *arguments: str, input: bytes = b"") -> str:
    """The one line on stderr of a command that fails with this code."""
    ended = flywheel(*arguments, input=input)
    assert ended.code == code, (ended.text, ended.errors)
    lines = ended.errors.splitlines()
    assert len(lines) == 1, ended.errors
    assert lines[0].startswith("flywheel: ")
    return lines[0]
