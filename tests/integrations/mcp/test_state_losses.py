"""State that would be masked where it is stored is refused, in words, before anything of it is lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, SecretStr

from agentic_flywheel.config import SecretSettings, Settings
from agentic_flywheel.integrations.mcp import DurableSessions, get_state
from agentic_flywheel.wiring import open_manager
from tests.integrations.mcp.conftest import Shop, server_with, visiting

KEY = "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8t"


class Card(BaseModel):
    number: str = ""
    pin: int | None = None


class Wallet(BaseModel):
    owner: str = ""
    cards: list[Card] = []


class Account(BaseModel):
    api_key: str = ""


class Token(BaseModel):
    symbol: str = "x"


class Safe(BaseModel):
    inside: SecretStr = SecretStr("")


@dataclass
class Door:
    pwd: str = ""


class Lock(msgspec.Struct):
    passcode: int = 0
    made_at: datetime | None = None


class Guest(TypedDict, total=False):
    session_token: str


class Flags(BaseModel):
    token: bool = False
    password: bool | None = None
    token_count: int = 0
    password_hint: str = ""


class Notes(BaseModel):
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}


LOST = {
    Card: '"pin"',
    Wallet: '"pin"',
    Account: '"api_key"',
    Door: '"pwd"',
    Lock: '"passcode"',
    Guest: '"session_token"',
    Token: '"state:Token"',
}


def add_tool_of(shop: Shop, kind: Any, runs: list[Any]) -> None:
    @shop.server.tool()
    async def change(session_id: str) -> str:
        runs.append(await get_state(kind))
        return "done"


@pytest.mark.parametrize("kind", LOST, ids=lambda kind: kind.__name__)
async def test_a_field_that_looks_like_a_credential(sqlite_url: str, kind: Any) -> None:
    """Its author is told at the first call, by name and with what to do; the tool gets no state."""
    sessions = DurableSessions(sqlite_url)
    runs: list[Any] = []
    async with visiting(server_with(sessions), sessions) as shop:
        add_tool_of(shop, kind, runs)
        session_id = await shop.begin()
        for _ in range(2):
            text = await shop.refused("change", session_id=session_id)
            assert f"the state {kind.__name__} cannot be kept" in text
            assert "Rename" in text
            assert f"secrets.keep = [{LOST[kind]}]" in text
        assert runs == []
        assert await shop.context(session_id) == {}


async def test_a_field_of_a_secret_type(sqlite_url: str) -> None:
    """It would be stored as asterisks, whatever it is called."""
    sessions = DurableSessions(sqlite_url)
    async with visiting(server_with(sessions), sessions) as shop:
        add_tool_of(shop, Safe, [])
        text = await shop.refused("change", session_id=await shop.begin())
        assert "the state Safe cannot be kept" in text
        assert "asterisks: inside. Keep such values elsewhere" in text


async def test_what_is_exempt_is_kept(sqlite_url: str) -> None:
    """As it is, also where it is nested."""
    settings = Settings.load()
    settings = msgspec.structs.replace(settings, secrets=SecretSettings(keep=("pin",)))
    async with open_manager(settings) as manager:
        sessions = DurableSessions(manager=manager)
        server = server_with(sessions)

        @server.tool()
        async def put(session_id: str, pin: int) -> list[Card]:
            wallet = await get_state(Wallet)
            wallet.cards.append(Card(number="1", pin=pin))
            return wallet.cards

        async with visiting(server, sessions) as shop:
            session_id = await shop.begin()
            await shop.call("put", session_id=session_id, pin=1234)
            cards = await shop.call("put", session_id=session_id, pin=5678)
            assert [card["pin"] for card in cards] == [1234, 5678]


async def test_what_is_never_masked_is_kept(sqlite_url: str) -> None:
    """True, False and None, and what only says something about a credential."""
    sessions = DurableSessions(sqlite_url)
    server = server_with(sessions)

    @server.tool()
    async def flip(session_id: str) -> dict[str, Any]:
        flags = await get_state(Flags)
        flags.token, flags.token_count, flags.password_hint = not flags.token, flags.token_count + 1, "a pet"
        return flags.model_dump()

    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.call("flip", session_id=session_id)
        flags = await shop.call("flip", session_id=session_id)
        assert flags == {"token": False, "password": None, "token_count": 2, "password_hint": "a pet"}


async def test_what_could_not_be_loaded_again_is_not_saved(sqlite_url: str) -> None:
    """A number under such a key of a dict: the client is told where, and the session goes on as it was before."""
    sessions = DurableSessions(sqlite_url)
    server = server_with(sessions)

    @server.tool()
    async def note(session_id: str, name: str, number: int) -> dict[str, int]:
        notes = await get_state(Notes)
        notes.numbers[name] = number
        return notes.numbers

    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.call("note", session_id=session_id, name="house", number=12)
        text = await shop.refused("note", session_id=session_id, name="pin", number=987123)
        assert "the state Notes was not saved" in text
        assert "numbers.pin: int_parsing" in text
        assert "secrets.keep" in text
        assert "987123" not in text
        found = await shop.call("note", session_id=session_id, name="street", number=7)
        assert found == {"house": 12, "street": 7}


async def test_texts_are_masked_where_they_can_be(sqlite_url: str) -> None:
    """What users put into a free text or dict is masked as everywhere, and the rest of the state is as it was."""
    sessions = DurableSessions(sqlite_url)
    server = server_with(sessions)

    @server.tool()
    async def write(session_id: str, name: str, text: str) -> dict[str, str]:
        notes = await get_state(Notes)
        notes.texts[name] = text
        return notes.texts

    async with visiting(server, sessions) as shop:
        session_id = await shop.begin()
        await shop.call("write", session_id=session_id, name="password", text="hunter2")
        await shop.call("write", session_id=session_id, name="a", text=f"my key is {KEY}")
        found = await shop.call("write", session_id=session_id, name="b", text="plain")
        assert found == {"password": "[masked]", "a": "my key is [masked]", "b": "plain"}
