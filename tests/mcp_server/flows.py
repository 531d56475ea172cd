"""Flows that the server under test runs: `tests.mcp_server.flows:NAME` in its settings."""

import asyncio

from agentic_flywheel.integrations.mcp.sdk import SDK


def echo(question: str) -> str:
    return f"you said {question}"


def fail(question: str) -> str:
    raise RuntimeError(f"no answer to {question}")


def large(question: str) -> str:
    return question * 5000


async def wait(question: str) -> str:
    """Call the port that is the question, and wait until somebody hangs up, or until it is cancelled."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(question))
    try:
        await reader.read()
    finally:
        writer.close()
    return "nobody waits any more"


def whoami(question: str) -> str:
    """The principal of whoever asks."""
    return SDK.principal() or "nobody"
