"""A server over stdio whose flow says its answer a word at a time, if anybody listens.

python -m tests.mcp_server.speaking
"""

from __future__ import annotations

import asyncio

from agentic_flywheel import Flywheel
from agentic_flywheel.backends import Answer, Flow, FlowRegistry, Question
from agentic_flywheel.config import Settings
from agentic_flywheel.mcp_server import build_server
from agentic_flywheel.wiring import open_manager


class SpeakingFlow(Flow):
    """Says the question again; of one that begins with ``listening`` whether anybody listens."""

    backend = "custom"

    async def ask(self, question: Question) -> Answer:
        if question.text.startswith("listening"):
            return Answer(f"listening: {question.on_text is not None}")
        for piece in question.text.split(" "):
            if question.on_text is not None:
                question.on_text(f"{piece} ")
            await asyncio.sleep(0.001)
        return Answer(f"{question.text} ")


if __name__ == "__main__":
    flywheel = Flywheel(open_manager(Settings.load()), FlowRegistry([SpeakingFlow("speak")], "speak"))
    asyncio.run(build_server(flywheel).run_stdio_async())
