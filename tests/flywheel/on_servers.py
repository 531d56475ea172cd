"""Flywheels whose flows are on servers, and a process that asks one of them.

python -m tests.flywheel.on_servers STORE FOLDER FLOWISE SESSION QUESTION
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from agentic_flywheel import Flywheel
from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.flowise import FlowiseFlow
from agentic_flywheel.backends.http_server import FlowServer
from agentic_flywheel.backends.langflow import LangflowFlow
from agentic_flywheel.config import Settings, StoreSettings
from agentic_flywheel.wiring import open_manager
from tests.support.flow_servers import KEY
from tests.support.flow_servers.flowise import MODEL
from tests.support.flow_servers.langflow import COUNTS


def flywheel_on(
    store: str, folder: Path, *, flowise: str | None = None, langflow: str | None = None, **options: Any
) -> Flywheel:
    """A flywheel with a flow on each server that is given, by its URL."""
    flows: list[FlowiseFlow | LangflowFlow] = []
    if flowise is not None:
        flows.append(FlowiseFlow("flowise", FlowServer("studio", flowise, key=KEY), MODEL, **options))
    if langflow is not None:
        flows.append(LangflowFlow("langflow", FlowServer("lab", langflow, key=KEY), COUNTS, **options))
    settings = Settings(store=StoreSettings(url=store), state_dir=str(folder / "state"))
    return Flywheel(open_manager(settings), FlowRegistry(flows, flows[0].id))


async def ask(store: str, folder: Path, flowise: str, session_id: str, question: str) -> None:
    async with flywheel_on(store, folder, flowise=flowise) as flywheel:
        print("asking", flush=True)
        print((await flywheel.ask(question, session_id=session_id)).text, flush=True)


if __name__ == "__main__":
    store, folder, *rest = sys.argv[1:]
    asyncio.run(ask(store, Path(folder), *rest))
