"""A real product in each file, a Redis that can be killed, and settings that name both."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import pytest

from agentic_flywheel.mcp_server.client import Connection, connected
from tests.real_flows.product import KEY_NAME, ROOT, Product
from tests.support import servers
from tests.support.servers import Server

# What they need is large, and is installed by their make targets. Those name the file to run, and a file that is
# named on the command line is collected all the same.
collect_ignore_glob = ["test_*.py"]

pytest.register_assert_rewrite("tests.real_flows.continuity")

COMMAND = (sys.executable, "-m", "agentic_flywheel.cli", "mcp")


class Serve(Protocol):
    """Starts an MCP server of its own over stdio and connects to it."""

    def __call__(self) -> AbstractAsyncContextManager[Connection]: ...


@pytest.fixture
def redis() -> Iterator[Server]:
    """A Redis for this test alone, which keeps all that it acknowledged."""
    with servers.start("redis-server", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def settings(product: Product, redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file with the product's flows; their key is in the environment."""
    monkeypatch.setenv(KEY_NAME, product.key)
    monkeypatch.setenv("WRONG_KEY", "wrong-key-0123456789")
    path = tmp_path / "flywheel.toml"
    path.write_text(settings_text(product, redis, tmp_path / "state"))
    return path


def settings_text(product: Product, redis: Server, state: Path) -> str:
    """The settings, in TOML; its texts, numbers and booleans are written as in JSON."""

    def table(name: str, **values: object) -> str:
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        return "\n".join([f"[{name}]", *lines, ""])

    server = {"backend": product.backend, "url": product.url}
    flow = {"server": "studio", "flow": product.flow, "timeout": 60.0, **product.options}
    return "\n".join(
        [
            f'default_flow = "counter"\nstate_dir = {json.dumps(str(state))}\n',
            table("store", url=redis.url),
            table("servers.studio", key_env=KEY_NAME, **server),
            table("servers.locked", key_env="WRONG_KEY", **server),
            table("flows.counter", **flow),
            table("flows.hasty", **{**flow, "timeout": 1.5}),
            table("flows.streamed", **{**flow, "flow": product.streamed_flow, "stream": True}),
            table("flows.refused", **{**flow, "server": "locked"}),
            table("flows.unknown", **{**flow, "flow": "00000000-0000-4000-8000-000000000000"}),
        ]
    )


@pytest.fixture
def serve(settings: Path, product: Product) -> Serve:
    environ = {"FLYWHEEL_CONFIG": str(settings), KEY_NAME: product.key, "WRONG_KEY": "wrong-key-0123456789"}
    return cast(Serve, partial(connected, COMMAND, {**environ, "PYTHONPATH": str(ROOT / "src")}))
