"""The shop of the guide: short, runs as shown, and keeps its carts through SIGKILL."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from mcp import MCPError

from agentic_flywheel.errors import FlywheelError
from agentic_flywheel.mcp_server.client import connected
from tests.docs.examples import blocks_of


@pytest.fixture
def shop(tmp_path: Path) -> tuple[str, str]:
    """The command of the server that the guide shows, word for word."""
    (block,) = (block for block in blocks_of("docs/guide.md") if block.file == "shop.py")
    assert len(block.text.splitlines()) <= 40
    (tmp_path / "shop.py").write_text(block.text, "utf-8")
    return sys.executable, str(tmp_path / "shop.py")


async def test_the_cart_survives_the_server(shop: tuple[str, str], environ: Mapping[str, str], mode: str) -> None:
    """A server over stdio is killed in the middle of a session; the next one has all that it answered for."""
    async with connected(shop, environ, mode=mode) as first:
        session_id = (await first.call("create_session"))["session_id"]
        await first.call("add_to_cart", session_id=session_id, item="tea")
        cart = await first.call("add_to_cart", session_id=session_id, item="pot")
        first.kill()
    assert cart == {"items": ["tea", "pot"]}
    async with connected(shop, environ, mode=mode) as second:
        assert await second.call("total", session_id=session_id) == {"result": 34}
        await second.call("add_to_cart", session_id=session_id, item="cup")
        with pytest.raises(FlywheelError, match="we have no moon"):
            await second.call("add_to_cart", session_id=session_id, item="moon")
        found = await second.call("resume_session", session_id=session_id)
    assert [(turn["question"], turn.get("status")) for turn in found["last_turns"]] == [
        ('add_to_cart {"item":"tea"}', None),
        ('add_to_cart {"item":"pot"}', None),
        ("total {}", None),
        ('add_to_cart {"item":"cup"}', None),
        ('add_to_cart {"item":"moon"}', "failed"),
    ]


async def test_two_processes_at_once_lose_nothing(shop: tuple[str, str], environ: Mapping[str, str]) -> None:
    """Fifty calls of one session at once, over stdio, to two servers on one store."""
    async with connected(shop, environ) as one, connected(shop, environ) as other:
        session_id = (await one.call("create_session"))["session_id"]
        calls = [
            server.call("add_to_cart", session_id=session_id, item=item)
            for server in (one, other)
            for item in ["tea", "cup", "pot", "tea", "tea"] * 5
        ]
        await asyncio.gather(*calls)
        assert await one.call("total", session_id=session_id) == {"result": 10 * (3 * 4 + 9 + 30)}


@pytest.fixture
def dying_shop(shop: tuple[str, str]) -> tuple[str, str]:
    """The same shop, whose process dies when it is to put something into a cart."""
    path = Path(shop[1])
    die = "import os; os.kill(os.getpid(), 9)"
    path.with_name("dying.py").write_text(path.read_text("utf-8").replace("cart.items.append(item)", die), "utf-8")
    return shop[0], str(path.with_name("dying.py"))


async def test_a_server_that_dies_in_a_call_gives_its_session_up(
    shop: tuple[str, str], dying_shop: tuple[str, str], environ: Mapping[str, str]
) -> None:
    """The session says what was never finished, and is free for the next server at once."""
    async with connected(shop, environ) as healthy:
        session_id = (await healthy.call("create_session"))["session_id"]
        await healthy.call("add_to_cart", session_id=session_id, item="tea")
        async with connected(dying_shop, environ) as other:
            with pytest.raises((MCPError, FlywheelError)):
                await other.call("add_to_cart", session_id=session_id, item="cup")
        found = await healthy.call("resume_session", session_id=session_id)
        assert found["interrupted"].startswith("add_to_cart was begun at ")
        async with asyncio.timeout(5):  # a claim that is not renewed would end after 6 s only
            cart = await healthy.call("add_to_cart", session_id=session_id, item="pot")
        assert cart == {"items": ["tea", "pot"]}
