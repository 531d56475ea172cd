"""A process that asks one question, and says when its flow begins and what came of it.

python -m tests.flywheel.asker URL FOLDER SESSION QUESTION [KEY]

The flow counts its runs in FOLDER/runs and waits for FOLDER/go.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agentic_flywheel import Flywheel
from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.python_flow import PythonFlow
from agentic_flywheel.config import JournalSettings, Settings, StoreSettings
from agentic_flywheel.errors import FlowFailed
from agentic_flywheel.wiring import open_manager

BUDGET_MS = 200  # twice the default: the machines that run the tests are busy


def flywheel_at(url: str, folder: Path) -> Flywheel:
    """A flywheel with one flow, ``slow``."""

    async def slow(question: str) -> str:
        with (folder / "runs").open("a") as runs:  # a line
            runs.write(f"{question}\n")
        print("begun", flush=True)
        while not (folder / "go").exists():  # noqa: ASYNC110  # processes share no event
            await asyncio.sleep(0.01)
        return f"answer to {question}"

    journal = JournalSettings(budget_ms=BUDGET_MS)
    settings = Settings(store=StoreSettings(url=url), journal=journal, state_dir=str(folder / "state"))
    return Flywheel(open_manager(settings), FlowRegistry([PythonFlow("slow", slow)], "slow"))


async def ask(url: str, folder: Path, session_id: str, question: str, key: str | None = None) -> None:
    async with flywheel_at(url, folder) as flywheel:
        try:
            reply = await flywheel.ask(question, session_id=session_id, request_key=key)
            print(reply.repeated, reply.text, flush=True)
        except FlowFailed as error:
            print("failed", error, flush=True)


if __name__ == "__main__":
    url, folder, *rest = sys.argv[1:]
    asyncio.run(ask(url, Path(folder), *rest))
