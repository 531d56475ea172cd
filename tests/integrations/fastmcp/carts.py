"""A kind of state, and tools that change it."""

from __future__ import annotations

from typing import Any

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.tools.base import ToolResult
from pydantic import BaseModel, Field

from agentic_flywheel.integrations.fastmcp import State


class Cart(BaseModel):
    items: list[str] = []
    count: int = Field(default=0, ge=0)


async def add(session_id: str, item: str, cart: State[Cart]) -> list[str]:
    cart.items.append(item)
    cart.count += 1
    return cart.items


def add_in_a_thread(session_id: str, item: str, cart: State[Cart]) -> list[str]:
    cart.items.append(item)
    return cart.items


async def look(session_id: str, cart: State[Cart]) -> list[str]:
    return cart.items


async def add_and_fail(session_id: str, item: str, how: str, cart: State[Cart]) -> ToolResult:
    cart.items.append(item)
    if how == "tool error":
        raise ToolError("the shop is closed")
    if how == "crash":
        raise ZeroDivisionError("a secret of the server")
    return ToolResult(content="sold out", is_error=True)


async def spoil(session_id: str, cart: State[Cart]) -> str:
    cart.count = -1
    return "done"


async def say(session_id: str, words: str, password: str = "") -> str:
    return f"{words}, {password}"


async def without_session(words: str) -> str:
    return words


def add_tools(server: FastMCP[Any]) -> None:
    """Tools with state, and tools that fail in each way."""
    for tool in (add, add_in_a_thread, look, add_and_fail, spoil, say, without_session):
        server.tool(tool)
