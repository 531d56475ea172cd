"""The FastMCP shop of the guide: runs as shown, in processes that die."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentic_flywheel.mcp_server.client import connected
from tests.docs.examples import blocks_of


@pytest.fixture
def shop(tmp_path: Path) -> tuple[str, str]:
    """The command of the server that the guide shows, word for word."""
    (block,) = (block for block in blocks_of("docs/guide.md") if block.file == "fastshop.py")
    (tmp_path / "fastshop.py").write_text(block.text, "utf-8")
    return sys.executable, str(tmp_path / "fastshop.py")


async def test_the_cart_survives_the_server(shop: tuple[str, str], environ: Mapping[str, str], mode: str) -> None:
    """A server over stdio is killed in the middle of a session; the next one has all that it answered for."""
    async with connected(shop, environ, mode=mode) as first:
        session_id = (await first.call("create_session"))["session_id"]
        for item in ("tea", "pot"):
            await first.call("add_to_cart", session_id=session_id, item=item)
        first.kill()
    async with connected(shop, environ, mode=mode) as second:
        cart = await second.call("add_to_cart", session_id=session_id, item="cup")
        assert cart == {"items": ["tea", "pot", "cup"]}
        found = await second.call("resume_session", session_id=session_id)
    assert [turn["question"] for turn in found["last_turns"]] == [
        f'add_to_cart {{"item":"{item}"}}' for item in ("tea", "pot", "cup")
    ]


async def test_two_processes_at_once_lose_nothing(shop: tuple[str, str], environ: Mapping[str, str]) -> None:
    """Forty calls of one session at once, to two servers on one store."""
    async with connected(shop, environ) as one, connected(shop, environ) as other:
        session_id = (await one.call("create_session"))["session_id"]
        calls = [
            server.call("add_to_cart", session_id=session_id, item=f"{name} {n}")
            for name, server in (("one", one), ("other", other))
            for n in range(20)
        ]
        await asyncio.gather(*calls)
        cart = await one.call("add_to_cart", session_id=session_id, item="last")
    expected = [f"{name} {n}" for name in ("one", "other") for n in range(20)]
    assert sorted(cart["items"]) == sorted([*expected, "last"])


@pytest.mark.parametrize("absent", ["fastmcp", "key_value", "mcp"])
def test_without_fastmcp(absent: str) -> None:
    """The error names the command that installs what is missing; other rooms work without it."""
    program = f"""
import sys
sys.modules[{absent!r}] = None
import agentic_flywheel.integrations
from agentic_flywheel.errors import MissingExtra
try:
    import agentic_flywheel.integrations.fastmcp
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "DurableSessions for a FastMCP server needs an optional package: pip install 'agentic-flywheel[fastmcp]'\n"
    )
