"""The ``coaia`` command line (PyPI ``coaiapy``), in the environment that ``make test-coaia`` makes for it."""

import os
import subprocess
from pathlib import Path
from typing import Self

from tests.support.servers import HOST, Server, ServerMissingError

PROGRAM = Path(__file__).parents[2] / ".venv-coaia" / "bin" / "coaia"


class Coaia:
    """Runs the program on a server's first database, the only one that it knows."""

    def __init__(self, server: Server) -> None:
        self._environ = {**os.environ, "REDIS_HOST": HOST, "REDIS_PORT": str(server.port)}

    @classmethod
    def on(cls, server: Server) -> Self:
        """The program on a server. Raises `ServerMissingError` where it is not installed."""
        if not PROGRAM.is_file():
            raise ServerMissingError("coaia", "Get it, and run these tests, with: make test-coaia")
        return cls(server)

    def fetch(self, key: str) -> str:
        """What ``coaia fetch`` prints."""
        return self._run("fetch", key)

    def tash(self, key: str, value: str, *options: str) -> None:
        """Let ``coaia tash`` store a text."""
        self._run("tash", key, value, *options)

    def _run(self, *arguments: str) -> str:
        command = [str(PROGRAM), *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"coaia {arguments[0]} failed: {done.stderr.decode()}")
        return done.stdout.decode()
