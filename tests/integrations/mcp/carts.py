"""Kinds of state, one of each that there is a rule for, and tools that change them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

import msgspec
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from agentic_flywheel.integrations.mcp import State

BEGUN = datetime(2026, 8, 1, 12, tzinfo=UTC)


class Cart(BaseModel):
    items: list[str] = []
    count: int = Field(default=0, ge=0)
    begun: datetime = BEGUN


@dataclass
class Basket:
    items: list[str] = field(default_factory=list)
    begun: datetime = BEGUN


class Trolley(msgspec.Struct):
    items: list[str] = []
    begun: datetime = BEGUN


class Bag(TypedDict, total=False):
    items: list[str]
    anything: dict[str, Any]


async def add(session_id: str, item: str, cart: State[Cart]) -> list[str]:
    cart.items.append(item)
    cart.count += 1
    return cart.items


def add_in_a_thread(session_id: str, item: str, cart: State[Cart]) -> list[str]:
    cart.items.append(item)
    return cart.items


async def look(session_id: str, cart: State[Cart]) -> list[str]:
    return cart.items


async def add_to_all(
    session_id: str, item: str, basket: State[Basket], trolley: State[Trolley], bag: State[Bag]
) -> list[int]:
    for items in (basket.items, trolley.items, bag.setdefault("items", [])):
        items.append(item)
    return [len(basket.items), len(trolley.items), len(bag["items"])]


async def add_and_fail(session_id: str, item: str, how: str, cart: State[Cart], bag: State[Bag]) -> CallToolResult:
    cart.items.append(item)
    bag.setdefault("anything", {}).setdefault("deep", []).append(item)
    if how == "tool error":
        raise ToolError("the shop is closed")
    if how == "crash":
        raise ZeroDivisionError("a secret of the server")
    if how == "protocol error":
        raise MCPError(-32000, "not today")
    return CallToolResult(content=[TextContent(type="text", text="sold out")], is_error=how == "result")


async def spoil(session_id: str, cart: State[Cart]) -> str:
    cart.items.append("good")
    cart.count = -1
    return "done"


async def say(session_id: str, words: str, password: str = "", deep: dict[str, Any] | None = None) -> str:
    return f"{words}, {password}"


async def without_session(words: str) -> str:
    return words


TOOLS: list[Callable[..., Any]] = [
    add,
    add_in_a_thread,
    look,
    add_to_all,
    add_and_fail,
    spoil,
    say,
    without_session,
]


def add_tools(server: MCPServer[Any]) -> None:
    """Tools with state of each kind, and tools that fail in each way."""
    for tool in TOOLS:
        server.add_tool(tool)
