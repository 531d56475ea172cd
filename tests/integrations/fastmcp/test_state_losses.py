"""State that would be masked where it is stored is refused in FastMCP, too."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from agentic_flywheel.integrations.fastmcp import DurableSessions, State
from tests.integrations.fastmcp.conftest import server_with, visiting


class Account(BaseModel):
    owner: str = ""
    pin: int = 0


class Numbers(BaseModel):
    of: dict[str, int] = {}


async def test_what_would_be_lost_is_refused(sqlite_url: str) -> None:
    """By the field's name at the first call; or, in a dict, when it is saved: what was stored stays."""
    sessions = DurableSessions(sqlite_url)
    server = server_with(sessions)

    @server.tool
    async def open_account(session_id: str, account: State[Account]) -> str:
        return account.owner

    @server.tool
    async def note(session_id: str, name: str, number: int, numbers: State[Numbers]) -> dict[str, Any]:
        numbers.of[name] = number
        return numbers.of

    async with visiting(server) as shop:
        session_id = await shop.begin()
        text = await shop.refused("open_account", session_id=session_id)
        assert "the state Account cannot be kept" in text
        assert 'secrets.keep = ["pin"]' in text
        assert await shop.call("note", session_id=session_id, name="house", number=1) == {"house": 1}
        assert "of.pin: int_parsing" in await shop.refused("note", session_id=session_id, name="pin", number=2)
        found = await shop.call("note", session_id=session_id, name="street", number=3)
        assert found == {"house": 1, "street": 3}
