"""A client that we did not write, the MCP Inspector, on `flywheel mcp`; run by ``make test-inspector``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.docs.examples import blocks_of
from tests.inspector.conftest import ERAS, Inspector

TOOLS = [
    "create_session",
    "resume_session",
    "list_sessions",
    "update_context",
    "fork_session",
    "delete_session",
    "run_flow",
    "list_flows",
    "record_turn",
    "get_execution",
]

CARELESS = """
from typing import Any
from mcp.server import MCPServer
server = MCPServer("careless")
@server.tool()
async def anything(value: Any) -> str: return "x"
server.run()
"""


def test_the_era_is_the_one_that_was_asked_for(inspector: Inspector) -> None:
    """So what follows is of that era."""
    looked = inspector.look("initialize")
    assert (looked.code, looked.findings) == (0, "")
    assert looked.result["protocolVersion"] == ERAS[inspector.era]
    assert looked.result["serverInfo"]["name"] == "agentic-flywheel"


def test_strict_mode_has_no_finding(inspector: Inspector) -> None:
    """Neither an error, for which it would exit with 6, nor a warning, which it writes down."""
    looked = inspector.look("tools/list", "--strict")
    assert (looked.code, looked.findings) == (0, "")
    assert [tool["name"] for tool in looked.result["tools"]] == TOOLS


def test_each_tool_is_called(inspector: Inspector) -> None:
    """A conversation from its beginning to its end, each call by a process of its own."""
    call = inspector.call
    session_id = call("create_session", title="inspected", context={"room": "B-1"})["session_id"]
    assert "recap" in json.dumps(call("list_flows"))
    reply = call("run_flow", question="remember lamp: 3", session_id=session_id)
    assert reply["session_id"] == session_id
    assert call("record_turn", session_id=session_id, question="And then?", response="Nothing.")
    assert call("update_context", session_id=session_id, set={"floor": 2}, remove=["room"])
    resumed = call("resume_session", session_id=session_id)
    assert (resumed["turns"], resumed["context"]["floor"]) == (2, 2)
    execution = call("get_execution", execution_id=resumed["last_turns"][0]["id"])
    assert execution["question"] == "remember lamp: 3"
    fork = call("fork_session", session_id=session_id, last=1)["session_id"]
    assert {each["session_id"] for each in call("list_sessions")["sessions"]} == {session_id, fork}
    assert call("delete_session", session_id=fork)


def test_an_error_is_a_result_that_says_so(inspector: Inspector) -> None:
    """It is told that the call failed, by its exit code, and how to go on."""
    looked = inspector.look("tools/call", "--tool-name", "resume_session", "--tool-arg", "session_id=nobody")
    assert looked.code == 5
    assert looked.result["isError"] is True
    assert "Call list_sessions to see the sessions that there are" in looked.result["content"][0]["text"]


def test_resources_and_the_prompt(inspector: Inspector) -> None:
    """A session as a resource, and what the prompt makes of it."""
    session_id = inspector.call("create_session", title="inspected")["session_id"]
    inspector.call("record_turn", session_id=session_id, question="And then?", response="Nothing.")
    templates = inspector.look("resources/templates/list").result["resourceTemplates"]
    (template,) = (each["uriTemplate"] for each in templates if each["uriTemplate"].endswith("{session_id}"))
    looked = inspector.look("resources/read", "--uri", template.replace("{session_id}", session_id))
    assert (looked.code, looked.findings) == (0, "")
    assert "And then?" in looked.result["contents"][0]["text"]
    looked = inspector.look("prompts/get", "--prompt-name", "continue", "--prompt-args", f"session_id={session_id}")
    assert (looked.code, looked.findings) == (0, "")
    assert "And then?" in json.dumps(looked.result["messages"])


def test_its_load_test_has_no_error(inspector: Inspector) -> None:
    """Two hundred calls, ten at a time: each is answered."""
    load = ("--load", "--load-requests", "200", "--load-concurrency", "10")
    arguments = json.dumps({"question": "remember lamp: 3"})
    looked = inspector.look("tools/call", "--tool-name", "run_flow", "--tool-args-json", arguments, *load)
    assert looked.code == 0
    assert {name: looked.result[name] for name in ("requests", "ok", "toolErrors", "errors")} == {
        "requests": 200,
        "ok": 200,
        "toolErrors": 0,
        "errors": 0,
    }


@pytest.mark.parametrize("file", ["shop.py", "fastshop.py"])
def test_servers_with_durable_sessions_have_no_finding(
    file: str, era: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """The shops of the guide, on the official SDK and on FastMCP."""
    (block,) = (block for block in blocks_of("docs/guide.md") if block.file == file)
    (tmp_path / file).write_text(block.text, "utf-8")
    quiet = {"FASTMCP_LOG_LEVEL": "ERROR"}
    shop = {"command": sys.executable, "args": [str(tmp_path / file)], "env": {**environ, **quiet}}
    inspector = Inspector(tmp_path, era, shop)
    looked = inspector.look("tools/list", "--strict")
    assert (looked.code, looked.findings) == (0, "")
    assert len(looked.result["tools"]) >= 5
    session_id = inspector.call("create_session")["session_id"]
    for count in (1, 2):
        cart = inspector.call("add_to_cart", session_id=session_id, item="tea")
        assert cart == {"items": ["tea"] * count}


def test_strict_mode_finds_what_there_is(era: str, tmp_path: Path) -> None:
    """A schema that says nothing is a finding: silence about ours means something."""
    (tmp_path / "careless.py").write_text(CARELESS, "utf-8")
    careless = {"command": sys.executable, "args": [str(tmp_path / "careless.py")]}
    looked = Inspector(tmp_path, era, careless).look("tools/list", "--strict")
    assert "accepts any value" in looked.findings
    assert "0 errors, 1 warning" in looked.findings
