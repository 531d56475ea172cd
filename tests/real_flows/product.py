"""A real flow server, as its make target installed it, on a free port, with data of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx2

from tests.support.servers import HOST, free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 300.0
KEY_NAME = "STUDIO_KEY"

# They start processes of their own, which outlive them. So a group is killed as a whole: by us, when the command
# ends, or when we are gone ourselves, which closes our end of its input.
_AS_A_GROUP = ("/bin/sh", "-c", '{ "$@"; kill -KILL 0; } & cat > /dev/null; kill -KILL 0', "sh")


class ProductMissingError(Exception):
    """It is not installed."""


class ProductStartError(Exception):
    """It ended, or did not answer in time; the message holds the end of its log."""


class Product(ABC):
    """A server with a flow that counts the turns of a conversation, set up through its own calls.

    The flow answers ``turn N: QUESTION``. Asked ``what was said?`` it answers with what it knows of the
    conversation; ``call PORT`` is answered once that port of this machine hangs up; at ``boom`` it breaks.

    As a context manager it is started and set up on entry, and killed on exit.

    Attributes:
        keeps: whether it keeps conversations.
        moves: whether it takes another port, and does not say so, as long as connections to an earlier process on
            its port are not forgotten, which takes a minute.
        options: settings that its flows need.
        key: what it wants to see from callers.
        flow: what it knows the flow by.
        streamed_flow: a flow whose answers can be read as they are made.
    """

    name: ClassVar[str]
    backend: ClassVar[str]
    keeps: ClassVar[bool] = True
    moves: ClassVar[bool] = False
    program: ClassVar[Path]
    ready: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.key = ""
        self.flow = ""
        self.streamed_flow = ""
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The arguments of its program."""

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """Its variables beside ``PATH`` and ``HOME``."""

    @abstractmethod
    def set_up(self, client: httpx2.Client) -> None:
        """Make the key and the flows, where it runs for the first time."""

    @abstractmethod
    def forget(self, *, newest: int | None = None) -> None:
        """Empty its database of all conversations, or take so many of the newest turns out, while it is down."""

    def start(self) -> None:
        """Spawn it; return once it answers.

        Raises:
            ProductMissingError, ProductStartError: it cannot be started; says why.
        """
        if not self.program.exists():
            raise ProductMissingError(
                f"{self.name} is not installed. Get it, and run these tests, with: make test-{self.name}"
            )
        if self.moves:
            self._wait_for_the_port()
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environ()}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_AS_A_GROUP, str(self.program), *self.command()],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait(self._process)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL all of it. Harmless if it is down."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def __enter__(self) -> Self:
        self.start()
        try:
            with httpx2.Client(base_url=self.url, timeout=60) as client:
                self.set_up(client)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def _log(self) -> Path:
        return self.folder / "product.log"

    def _wait_for_the_port(self) -> None:
        while True:
            with socket.socket() as probe:
                try:
                    probe.bind((HOST, self.port))
                except OSError:
                    time.sleep(0.1)
                else:
                    return

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            said = self._log.read_text(errors="replace")[-4000:]
            if process.poll() is not None:
                raise ProductStartError(f"{self.name} ended. The end of its log:\n{said}")
            if time.monotonic() > deadline:
                raise ProductStartError(f"{self.name} does not answer. The end of its log:\n{said}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return httpx2.get(self.url + self.ready, timeout=5).is_success
        except httpx2.HTTPError:
            return False


def messages_of(turns: int | None) -> int:
    """How many messages so many turns have, as a limit of SQL's; None: all turns."""
    return -1 if turns is None else 2 * turns


def expect(response: httpx2.Response) -> Any:
    """What a call of the set-up answered, decoded; an answer with an error is raised with what it says."""
    if not response.is_success:
        raise RuntimeError(
            f"{response.request.method} {response.url}: {response.status_code} {response.text[:500]}"
        )
    return response.json()
