"""The MCP Inspector's command line, and servers for it to look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.docs.examples import PATIENT
from tests.support.http_server import HttpServer
from tests.support.servers import Server

# What it needs is installed by its make target. That names the file to run, and a file that is named on the command
# line is collected all the same.
collect_ignore_glob = ["test_*.py"]

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".inspector" / "node_modules"
INSPECTOR = MODULES / ".bin" / "mcp-inspector"
NODE = MODULES / "node" / "bin"

ABOUT_ITSELF = "[mcp-inspector] "  # where it keeps secrets; nothing about the server

ERAS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
"""The protocol version that each era is known by."""


@dataclass(frozen=True)
class Looked:
    """What the Inspector said. ``code`` is its exit code, ``findings`` what it had to say beside the result."""

    code: int
    result: dict[str, Any]
    findings: str


@dataclass(frozen=True)
class Inspector:
    """The Inspector, looking at one server in one era."""

    folder: Path
    era: str
    server: dict[str, Any]

    def look(self, method: str, *arguments: str) -> Looked:
        """Call a method of the server; connects anew."""
        config = self.folder / "inspected.json"
        config.write_text(json.dumps({"mcpServers": {"inspected": self.server}}), "utf-8")
        command = [INSPECTOR, "--cli", "--config", config, "--server", "inspected", "--protocol-era", self.era]
        done = subprocess.run(
            [*map(str, command), "--method", method, "--format", "json", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={
                "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.folder),  # where it keeps what it is told
                "MCP_INSPECTOR_SECRET_STORE": "memory",  # and not the keychain of whoever runs the tests
            },
        )
        result = json.loads(done.stdout)["result"] if done.stdout.strip() else {}
        said = [line for line in done.stderr.splitlines() if not line.startswith(ABOUT_ITSELF)]
        return Looked(done.returncode, result, "\n".join(said))

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result of a tool that succeeds, and of which it has nothing to say."""
        looked = self.look("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        assert (looked.code, looked.findings) == (0, ""), looked
        assert looked.result["isError"] is False
        return cast(dict[str, Any], looked.result["structuredContent"])


@pytest.fixture(params=list(ERAS))
def era(request: pytest.FixtureRequest) -> str:
    """The protocol era that the Inspector asks for, and no other."""
    return cast(str, request.param)


@pytest.fixture
def environ(redis_server: Server, tmp_path: Path) -> dict[str, str]:
    """What tells a server where to keep its sessions."""
    settings = tmp_path / "flywheel.toml"
    settings.write_text(PATIENT, "utf-8")
    return {
        "FLYWHEEL_CONFIG": str(settings),
        "FLYWHEEL_STATE_DIR": str(tmp_path / "state"),
        "FLYWHEEL_REDIS_URL": redis_server.url,
        "FLYWHEEL_PREFIX": f"inspected-{tmp_path.name}",
    }


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, environ: dict[str, str], tmp_path: Path) -> Iterator[dict[str, Any]]:
    """`flywheel mcp` as a client's settings name it: a command, or a URL."""
    if request.param == "stdio":
        yield {"command": sys.executable, "args": ["-m", "agentic_flywheel.cli", "mcp"], "env": environ}
        return
    with HttpServer(tmp_path, environ) as running:
        yield {"type": "streamable-http", "url": running.url}


@pytest.fixture
def inspector(tmp_path: Path, era: str, server: dict[str, Any]) -> Inspector:
    return Inspector(tmp_path, era, server)
