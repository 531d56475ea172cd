"""Whatever is wrong with a flow's server: a clear tool error, one execution on record, a session that still works.

And the key of the server is nowhere. How each kind of flow is told apart in detail is in tests/backends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from agentic_flywheel.config import Settings
from agentic_flywheel.wiring import open_manager
from tests.support.bytes_kept import in_files
from tests.support.flow_servers import (
    FlowiseServer,
    Huge,
    LangflowServer,
    Late,
    ServedFlows,
    half,
    never,
    page,
    redirect,
    saying,
)
from tests.support.flow_servers import flowise as on_flowise
from tests.support.flow_servers import langflow as on_langflow
from tests.support.flow_servers.faults import Fault
from tests.support.http_server import HttpServer, client_of, result_of
from tests.support.servers import HOST, TlsFiles, free_port

KEYS = {"STUDIO_KEY": "planted-0123456789-abcdef", "WRONG_KEY": "planted-9876543210-fedcba"}  # of no known form
LOCKED = {"flowise": on_flowise.LOCKED, "langflow": on_langflow.COUNTS}
COUNTS = {"flowise": on_flowise.COUNTER, "langflow": on_langflow.COUNTS}
STREAMS = {"flowise": on_flowise.MODEL, "langflow": on_langflow.STREAMS}


@dataclass(frozen=True)
class Studio:
    """The MCP server under test, the flow servers that it asks, and where everything is kept."""

    mcp: HttpServer
    served: dict[str, ServedFlows]
    folder: Path

    async def entries(self, session_id: str, flow_id: str) -> list[dict[str, Any]]:
        """The executions of a flow in a session, as another process finds them in the store."""
        manager = open_manager(Settings.load(environ={"FLYWHEEL_STATE_DIR": str(self.folder / "state")}))
        try:
            return await manager.load_history(session_id, flow_id)
        finally:
            await manager.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One server for all tests here; each has a session of its own."""
    folder = tmp_path_factory.mktemp("studio")
    files, key = TlsFiles.issue(folder), KEYS["STUDIO_KEY"]
    with (
        FlowiseServer(key=key) as flowise,
        LangflowServer(key=key) as langflow,
        FlowiseServer(key=key, tls=files) as secure_flowise,
        LangflowServer(key=key, tls=files) as secure_langflow,
    ):
        tables = _tables("flowise", flowise, secure_flowise) + _tables("langflow", langflow, secure_langflow)
        settings = folder / "flywheel.toml"
        settings.write_text("\n".join(tables))
        environ = {"FLYWHEEL_CONFIG": str(settings), "FLYWHEEL_STATE_DIR": str(folder / "state"), **KEYS}
        with HttpServer(folder, environ) as mcp:
            yield Studio(mcp, {"flowise": flowise, "langflow": langflow}, folder)


def _tables(product: str, served: ServedFlows, secure: ServedFlows) -> list[str]:
    """Settings: servers that are right and wrong, and flows on them, named after the product."""
    servers = {
        "": (served.url, "STUDIO_KEY"),
        "-locked": (served.url, "WRONG_KEY"),
        "-nowhere": (f"http://{HOST}:{free_port()}", "STUDIO_KEY"),
        "-secure": (secure.url, "STUDIO_KEY"),
    }
    flows: dict[str, dict[str, Any]] = {
        "": {"flow": COUNTS[product]},
        "-streamed": {"flow": STREAMS[product], "stream": True},
        "-hasty": {"flow": COUNTS[product], "timeout": 0.5},
        "-unknown": {"flow": on_flowise.UNKNOWN},
        "-refused": {"flow": LOCKED[product], "server": f"{product}-locked"},
        "-nowhere": {"flow": COUNTS[product], "server": f"{product}-nowhere"},
        "-secure": {"flow": COUNTS[product], "server": f"{product}-secure"},
    }
    return [
        *(
            _table(f"servers.{product}{name}", {"backend": product, "url": url, "key_env": key_env})
            for name, (url, key_env) in servers.items()
        ),
        *(_table(f"flows.{product}{name}", {"server": product, **values}) for name, values in flows.items()),
    ]


def _table(name: str, values: dict[str, Any]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


@pytest.fixture(params=["flowise", "langflow"])
def product(request: pytest.FixtureRequest, studio: Studio) -> Iterator[str]:
    """The products, one after the other; without a fault again when a test ends."""
    yield request.param
    studio.served[request.param].fault = None


@dataclass(frozen=True)
class Trouble:
    """A flow (by the end of its name) with a fault, the status of its execution, and what the error says."""

    flow: str
    status: str
    says: str
    fault: Callable[[], Fault] | None = None


TROUBLES = {
    "wrong URL": Trouble("-nowhere", "failed", r"cannot be reached .*; start it, or correct servers\.\w+-nowhere"),
    "wrong key": Trouble("-refused", "failed", r"refuses the key .* that servers\.\w+-locked\.key_env names"),
    "unknown flow": Trouble("-unknown", "failed", r"has no such flow \(404.*'flywheel flows discover \w+'"),
    "web page": Trouble("", "failed", r"answered with a web page; correct servers\.\w+\.url", page),
    "half a stream": Trouble("-streamed", "unknown", r"was cut off .*see what it did before you ask", lambda: half),
    "50 MB": Trouble("", "failed", r"larger than 16 MB and was not read; let the flow answer with less", Huge),
    "no text": Trouble("", "failed", r"holds no text; let the flow end in", lambda: saying(200, {"oops": 1})),
    "its key": Trouble(
        "", "failed", r"holds no text; let the flow end in", lambda: saying(200, {"oops": [KEYS["STUDIO_KEY"]]})
    ),
    "never answers": Trouble("-hasty", "unknown", r"did not answer within 0\.5 s; raise flows\.", lambda: never),
    "certificate": Trouble("-secure", "failed", r"cannot be verified .* servers\.\w+-secure\.ca_file"),
    "redirect": Trouble(
        "", "failed", r"redirects \(307\) to .*, and nothing was sent there; correct servers\.\w+\.url",
        lambda: redirect(f"http://{HOST}:9/elsewhere"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TROUBLES)
async def test_trouble(studio: Studio, product: str, name: str) -> None:
    trouble = TROUBLES[name]
    flow_id = f"{product}{trouble.flow}"
    async with client_of(studio.mcp.url, "auto") as client:
        session_id = (await result_of(client, "run_flow", question="one", flow_id=product))["session_id"]
        studio.served[product].fault = trouble.fault() if trouble.fault else None
        error = await error_of(client, question=name, session_id=session_id, flow_id=flow_id)
        await assert_on_record(studio, session_id, flow_id, name, trouble.status)
        studio.served[product].fault = None
        after = await result_of(client, "run_flow", question="two", session_id=session_id, flow_id=product)
    assert re.search(trouble.says, error)
    assert f"flow '{flow_id}'" in error
    assert "on record" in error
    assert "session can be used as before" in error
    assert after["response"].endswith("two")  # behind what was said to another flow of its server
    assert_no_key(studio, error)


async def test_an_answer_that_comes_late(studio: Studio, product: str) -> None:
    """It is unknown until the server tells: then it is the answer of its question, and there is one run of it."""
    flow_id, late = f"{product}-hasty", Late()
    async with client_of(studio.mcp.url, "auto") as client:
        session_id = (await result_of(client, "run_flow", question="one", flow_id=product))["session_id"]
        studio.served[product].fault = late
        error = await error_of(client, question="late", session_id=session_id, flow_id=flow_id)
        await assert_on_record(studio, session_id, flow_id, "late", "unknown")
        late.let_go()
        studio.served[product].fault = None
        after = await result_of(client, "run_flow", question="two", session_id=session_id, flow_id=product)
        view = await result_of(client, "resume_session", session_id=session_id)
    assert f"flow '{flow_id}' did not answer within 0.5 s" in error
    assert after["response"] == "turn 3: two"
    assert [turn["response"] for turn in view["last_turns"]] == ["turn 1: one", "turn 2: late", "turn 3: two"]
    await assert_on_record(studio, session_id, flow_id, "late", "completed")
    assert_no_key(studio, error)


async def error_of(client: Client, **arguments: Any) -> str:
    """The error that the tool gives; whoever asks wants to be told of progress, so a flow may stream."""

    async def ignore(progress: float, total: float | None, message: str | None) -> None: ...

    result = await client.call_tool("run_flow", arguments, progress_callback=ignore)
    assert result.is_error
    return " ".join(getattr(content, "text", "") for content in result.content)


async def assert_on_record(studio: Studio, session_id: str, flow_id: str, question: str, status: str) -> None:
    """There is one execution of a question, with this status."""
    entries = await studio.entries(session_id, flow_id)
    assert [entry["status"] for entry in entries if entry["question"] == question] == [status]


def assert_no_key(studio: Studio, error: str) -> None:
    """Neither in what is stored or logged, nor in what a client was told."""
    kept = in_files(studio.folder / "state") + error.encode() + studio.mcp.log.encode()
    assert not [key for key in KEYS.values() if key.encode() in kept]
