"""A server with one tool, with and without durable sessions, for `benchmarks.recording`."""

from __future__ import annotations

import sys
from typing import Any

from mcp.server import MCPServer
from pydantic import BaseModel

from agentic_flywheel.integrations.mcp import DurableSessions, State


class Note(BaseModel):
    """A state that each call changes."""

    words: str = ""


def build(kind: str, url: str) -> MCPServer[Any]:
    """A server: ``bare``, or one that does ``record`` calls, or has ``state``, or ``both``."""
    if kind == "bare":
        server: MCPServer[Any] = MCPServer("bare", log_level="WARNING")
    else:
        sessions = DurableSessions(url, record=kind != "state")
        server = MCPServer(kind, extensions=[sessions], lifespan=sessions.lifespan, log_level="WARNING")
    server.add_tool(note if kind in ("state", "both") else say, name="say")
    return server


async def say(session_id: str, words: str) -> str:
    """Say it again."""
    return words


async def note(session_id: str, words: str, state: State[Note]) -> str:
    """Say it again, and note it."""
    state.words = words
    return words


def main(transport: str, kind: str, url: str, port: str) -> None:
    """Serve over ``stdio``, or over HTTP on a loopback port."""
    server = build(kind, url)
    if transport == "stdio":
        server.run()
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
