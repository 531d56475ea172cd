"""What masking adds to a save of a turn of 2 KB in which nothing is masked: ``python -m benchmarks.masking``.

Saves with and without it take turns, on one Redis and on one SQLite file, so that both meet the same machine.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from statistics import median

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import SecretSettings, Settings, StoreSettings
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


async def measure(url: str | None, folder: str) -> tuple[float, float]:
    """The median save in microseconds, without masking and with it."""
    dice = random.Random(1)  # noqa: S311  # no secret
    settings = [
        Settings(store=StoreSettings(url=url), state_dir=folder, secrets=SecretSettings(mask=masks))
        for masks in (False, True)
    ]
    pairs: list[tuple[SessionManager, UniversalSession, list[float]]] = []
    for each in settings:
        session = UniversalSession(backend="custom", current_flow_id="recap", context={"topic": "a shop"})
        pairs.append((open_manager(each), session, []))
    for _ in range(SAVES):
        question, response = words(200, dice), words(1600, dice)
        for manager, session, took in pairs:
            session.record(question=question, response=response, duration_ms=12)
            start = time.perf_counter()
            saved = await manager.save_session(session)
            took.append(time.perf_counter() - start)
            assert saved.outcome == "stored", saved.reason  # noqa: S101  # what was journalled is no measurement
    for manager, _, _ in pairs:
        await manager.close()
    without, with_ = (median(took[SAVES // 10 :]) * 1e6 for _, _, took in pairs)
    return without, with_


async def main() -> None:
    """Print a line for each store."""
    with servers.start("redis-server") as server:
        for name, url in (("redis", server.url), ("sqlite", None)):
            with tempfile.TemporaryDirectory() as folder:
                without, with_ = await measure(url, folder)
            print(f"{name}: {without:.0f} µs without, {with_:.0f} µs with masking: +{with_ / without - 1:.1%}")


if __name__ == "__main__":
    asyncio.run(main())
