"""What masking and encryption add to a save of a turn of 2 KB in which nothing is masked: ``make bench-secrecy``.

Saves with and without them take turns, on one Redis and on SQLite, so that all meet the same machine.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import tempfile
import time
from statistics import median

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import SecretSettings, Settings, StoreSettings
from agentic_flywheel.config.encryption import VARIABLE
from agentic_flywheel.secrecy.sealing import new_key
from agentic_flywheel.wiring import open_manager
from tests.support import servers

SAVES = 4000
PROSE = (  # noqa: SIM905  # prose is to be read
    "the shop owner asked about session restoring and whether each question should be kept in the same order while "
    "another process writes to it again because tokens are counted elsewhere, and the API says so in 2025-11-18"
).split()


def words(count: int, dice: random.Random) -> str:
    """Prose of so many characters."""
    return " ".join(dice.choice(PROSE) for _ in range(count // 4))[:count]


KINDS = ("as it is", "masked", "encrypted")


def opened(kind: str, url: str | None, folder: str) -> SessionManager:
    """A manager that stores things as they are, or masked (as by default), or masked and encrypted."""
    os.environ.pop(VARIABLE, None)
    if kind == "encrypted":
        os.environ[VARIABLE] = base64.b64encode(new_key()).decode()
    mask = SecretSettings(mask=kind != "as it is")
    return open_manager(
        Settings(store=StoreSettings(url=url, prefix=kind), state_dir=f"{folder}/{kind}", secrets=mask)
    )


async def measure(url: str | None, folder: str) -> list[float]:
    """The median save of each kind, in microseconds."""
    dice = random.Random(1)  # noqa: S311  # no secret
    found: list[tuple[SessionManager, UniversalSession, list[float]]] = []
    for kind in KINDS:
        session = UniversalSession(backend="custom", current_flow_id="recap", context={"topic": "a shop"})
        found.append((opened(kind, url, folder), session, []))
    for _ in range(SAVES):
        question, response = words(200, dice), words(1600, dice)
        for manager, session, took in found:
            session.record(question=question, response=response, duration_ms=12)
            start = time.perf_counter()
            saved = await manager.save_session(session)
            took.append(time.perf_counter() - start)
            if saved.outcome != "stored":
                raise RuntimeError(f"what is {saved.outcome} is no measurement: {saved.reason}")
    for manager, _, _ in found:
        await manager.close()
    return [median(took[SAVES // 10 :]) * 1e6 for _, _, took in found]


async def main() -> None:
    """Print a line for each store."""
    with servers.start("redis-server") as server:
        for name, url in (("redis", server.url), ("sqlite", None)):
            with tempfile.TemporaryDirectory() as folder:
                plain, *others = await measure(url, folder)
            more = ", ".join(
                f"{kind} {took - plain:+.0f} µs ({took / plain - 1:+.1%})"
                for kind, took in zip(KINDS[1:], others, strict=True)
            )
            print(f"{name}: a save takes {plain:.0f} µs; {more}")


if __name__ == "__main__":
    asyncio.run(main())
