"""Spans for OpenTelemetry: what they tell, what they must not, and what they cost nobody who has not asked."""

import json
import subprocess
import sys
from typing import Any

# A program of its own: OpenTelemetry's tracer provider can be set once in a process.
TRACED = """
import asyncio, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.python_flow import PythonFlow
from agentic_flywheel.errors import FlowFailed
from agentic_flywheel.flywheel import Flywheel
from agentic_flywheel.manager import SessionManager
from agentic_flywheel.stores.memory import MemoryStore

def answer(question):
    return "confidential answer"

def fail(question):
    raise RuntimeError(f"confidential: {question}")

async def main():
    flows = FlowRegistry([PythonFlow("fine", answer), PythonFlow("bad", fail)], "fine")
    async with Flywheel(SessionManager(MemoryStore()), flows) as flywheel:
        await flywheel.ask("confidential question", session_id=None)
        reply = await flywheel.ask("confidential question", flow="fine")
        try:
            await flywheel.ask("confidential question", session_id=reply.session_id, flow="bad")
        except FlowFailed:
            pass
        await flywheel.sessions.load("confidential-id")

asyncio.run(main())
print(json.dumps([json.loads(span.to_json()) for span in exporter.get_finished_spans()]))
"""

UNTRACED = """
import sys
{imports}
from agentic_flywheel.tracing import span

with span("save") as note:
    note("outcome", "stored")
print(span("save") is span("load"), "opentelemetry" in sys.modules)
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_saves_loads_and_flows_have_spans_without_content() -> None:
    """A flow that fails is told by the kind of its error: its message may quote what was said."""
    text = run(TRACED)
    spans: list[dict[str, Any]] = json.loads(text)
    named = {span["name"] for span in spans}
    assert named == {"flywheel.save", "flywheel.load", "flywheel.flow"}
    flows = [span for span in spans if span["name"] == "flywheel.flow"]
    assert [span["attributes"]["flywheel.flow_id"] for span in flows] == ["fine", "fine", "bad"]
    assert [span["status"]["status_code"] for span in flows] == ["UNSET", "UNSET", "ERROR"]
    assert flows[-1]["attributes"]["error.type"] == "RuntimeError"
    outcomes = {span["attributes"]["flywheel.outcome"] for span in spans if span["name"] != "flywheel.flow"}
    assert outcomes == {"stored", "found", "absent"}
    assert "confidential" not in text
    assert "session_" not in text


def test_nobody_pays_who_has_not_asked() -> None:
    """Nothing is imported for it, and nothing is made where no tracer is set up."""
    assert run(UNTRACED.format(imports="")) == "True False\n"
    assert run(UNTRACED.format(imports="import opentelemetry.trace")) == "True True\n"
