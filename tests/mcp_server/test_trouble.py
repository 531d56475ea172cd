"""When the store does not do what it should, clients are told, and logs tell nothing of conversations."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from redis import Redis

from agentic_flywheel.errors import FlywheelError
from agentic_flywheel.mcp_server.client import connected
from tests.support.servers import Server

from .conftest import COMMAND


async def test_a_store_that_is_away_is_not_taken_for_an_empty_one(
    environ: dict[str, str], own_server: Server, mode: str
) -> None:
    """The error does not say that there is no session; the server goes on once the store is back."""
    environ["FLYWHEEL_REDIS_URL"] = own_server.url
    async with connected(COMMAND, environ, mode=mode) as server:
        session_id = (await server.call("create_session"))["session_id"]
        own_server.kill()
        with pytest.raises(FlywheelError) as caught:
            await server.call("resume_session", session_id="session_of_somebody_else")
        assert "cannot be reached" in str(caught.value)
        assert "no session" not in str(caught.value)
        own_server.start()
        assert (await server.call("resume_session", session_id=session_id))["turns"] == 0


async def test_a_damaged_session_is_called_damaged_and_left_alone(
    environ: dict[str, str], kv_url: str, mode: str
) -> None:
    environ["FLYWHEEL_REDIS_URL"] = kv_url
    redis = Redis.from_url(kv_url)
    redis.set("agentic_flywheel:session:broken", b'{"id": "broken", ')
    async with connected(COMMAND, environ, mode=mode) as server:
        for tool, arguments in (
            ("resume_session", {}),
            ("run_flow", {"question": "q"}),
            ("record_turn", {"question": "q", "response": "r"}),
        ):
            with pytest.raises(FlywheelError, match="damaged"):
                await server.call(tool, session_id="broken", **arguments)
    assert redis.get("agentic_flywheel:session:broken") == b'{"id": "broken", '
    redis.close()


async def test_logs_hold_no_word_of_a_conversation(environ: Mapping[str, str], tmp_path: Path, mode: str) -> None:
    """Neither of a flow that fails nor of a save that is refused, nor of an unknown handle."""
    log = tmp_path / "stderr"
    parameters = StdioServerParameters(command=COMMAND[0], args=list(COMMAND[1:]), env=dict(environ))
    with log.open("w") as file:
        async with Client(stdio_client(parameters, errlog=file), mode=mode) as client:
            for arguments in (
                {"question": "confidential", "flow_id": "fail"},
                {"question": "confidential", "flow_id": "large"},
                {"question": "q", "session_id": "confidential"},
            ):
                await client.call_tool("run_flow", arguments)
    text = log.read_text()
    assert "was not saved" in text  # it does log
    assert "confidential" not in text


def test_a_traceback_in_the_log_holds_no_message() -> None:
    """An exception's message may quote what was said; its type and places may be known."""
    from agentic_flywheel.mcp_server.logs import DiscreetFormatter

    try:
        json.loads("confidential")
    except ValueError:
        text = DiscreetFormatter().formatException(sys.exc_info())
    assert "JSONDecodeError" in text
    assert "test_trouble.py" in text
    assert text.endswith("JSONDecodeError")
