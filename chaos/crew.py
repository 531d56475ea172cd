"""The writers as the one who directs them sees them: processes that are started, told what to do, and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from .stage import Stage
from .writer import Part

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0  # seconds until a writer that was told to leave or die is given up


class WriterFailed(Exception):
    """A writer ended that was not told to; the message has what it said last."""


class Member:
    """One writer, through all its lives."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self._log = log
        self._lives = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def ledger(self) -> Path:
        """Where it notes what it does."""
        return Path(self.part.ledger)

    async def start(self) -> None:
        """Begin a life."""
        self._lives += 1
        part = msgspec.structs.replace(self.part, seed=f"{self.part.seed}-{self._lives}")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chaos.writer", msgspec.json.encode(part).decode()),
                cwd=ROOT,
                env=_environment(self.part.state),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def order(self, *words: str) -> None:
        """Tell it to do something."""
        stdin = self._running().stdin
        if stdin is not None:
            stdin.write(" ".join(words).encode() + b"\n")
            await stdin.drain()

    async def say(self, count: int) -> None:
        """Let it say so much in each of its sessions; return when it has."""
        await self.order("say", str(count))
        stdout = self._running().stdout
        if stdout is None or await stdout.readline() != b"done\n":
            raise WriterFailed(f"{self.part.name} ended: {self._last_words()}")

    async def die(self) -> None:
        """SIGKILL in the middle of its next save."""
        await self.order("doom")
        await self._ended(expected=-signal.SIGKILL)

    async def leave(self) -> None:
        """Finish what is under way, and end."""
        stdin = self._running().stdin
        if stdin is not None:
            stdin.close()
        await self._ended(expected=0)

    async def kill(self) -> None:
        """End it at once, if it lives; return when it has, and its pipes are closed."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    async def _ended(self, *, expected: int) -> None:
        process = self._running()
        try:
            code = await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            raise WriterFailed(f"{self.part.name} does not end: {self._last_words()}") from None
        if code != expected:
            raise WriterFailed(f"{self.part.name} ended with {code}: {self._last_words()}")

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("this writer was not started")
        return self._process

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


@asynccontextmanager
async def crew(
    stage: Stage, seed: int, *, size: int, own: int, shared: int, pause: float
) -> AsyncIterator[Sequence[Member]]:
    """Writers that run; every second one goes through the network that can fail.

    Each has ``own`` sessions for itself, and all have ``shared`` ones in common.
    """
    members = []
    common = [f"shared-{number}" for number in range(shared)]
    for number in range(size):
        name = f"writer-{number}"
        sessions = [*(f"{name}-own-{which}" for which in range(own)), *common]
        url = stage.proxy.url if number % 2 else stage.server.url
        ledger = str(stage.ledgers / f"{name}.jsonl")
        part = Part(name, url, str(stage.state), ledger, tuple(sessions), f"{seed}-{name}", pause)
        members.append(Member(part, stage.folder / f"{name}.log"))
    try:
        await asyncio.gather(*(member.start() for member in members))
        yield members
    finally:
        await asyncio.gather(*(member.kill() for member in members))


def _environment(home: str) -> dict[str, str]:
    """That of this process, without the settings of whoever runs it."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("FLYWHEEL_", "REDIS_", "XDG_"))
    }
    return own | {"HOME": home}
