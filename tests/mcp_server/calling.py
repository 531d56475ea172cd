"""A client process that calls `run_flow` over HTTP, to be killed while it waits for the answer.

python -m tests.mcp_server.calling URL MODE SESSION QUESTION
"""

from __future__ import annotations

import asyncio
import sys

from tests.support.http_server import client_of


async def call(url: str, mode: str, session_id: str, question: str) -> None:
    async with client_of(url, mode) as client:
        await client.call_tool("run_flow", {"question": question, "session_id": session_id, "flow_id": "wait"})


if __name__ == "__main__":
    asyncio.run(call(*sys.argv[1:]))
