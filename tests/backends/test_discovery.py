"""A server that is asked for its flows, and answers with some other JSON."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentic_flywheel.backends import flowise, langflow
from agentic_flywheel.backends.http_server import FlowServer
from agentic_flywheel.errors import FlowFailed
from tests.support.servers import HOST


@pytest.mark.parametrize("kind", [flowise, langflow], ids=["flowise", "langflow"])
@pytest.mark.parametrize(
    "answer", [{"hello": 1}, {"data": [{"id": 1}]}, {"data": {"a": 1}}, [{"name": "no id"}], 7, "flows"]
)
async def test_other_json_is_not_taken_for_no_flows(kind: object, answer: object) -> None:
    """The error names the server, and the settings that may be wrong."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(answer).encode()
        head = (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n"
        )
        writer.write(head.format(len(body)).encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, HOST, 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        server = FlowServer("studio", f"http://{HOST}:{port}", key=None)
        with pytest.raises(FlowFailed, match=r"server 'studio' .* is no list of flows; check servers\.studio\.url"):
            await kind.discover(server)  # type: ignore[attr-defined]  # both modules have it
        await server.close()
