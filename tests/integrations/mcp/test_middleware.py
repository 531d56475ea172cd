"""The same for servers that take no extensions: an `MCPServer` without one, and the low-level server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.server import MCPServer, Server, ServerRequestContext
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from agentic_flywheel.integrations.mcp import DurableSessions, get_state
from tests.integrations.mcp.carts import Cart, add_tools
from tests.integrations.mcp.conftest import visiting

SCHEMA = {"type": "object", "properties": {"session_id": {"type": "string"}, "item": {"type": "string"}}}
HANDLE_TOOLS = ["create_session", "resume_session", "list_sessions", "end_session"]


def low_level(sessions: DurableSessions) -> Server[Any]:
    """A server on the SDK's lower level, whose one handler serves all tools."""

    async def listing(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
        if params is not None and params.cursor:
            return ListToolsResult(tools=[Tool(name="fail", input_schema=SCHEMA)])
        return ListToolsResult(tools=[Tool(name="add", input_schema=SCHEMA)], next_cursor="more")

    async def call(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        cart = await get_state(Cart)
        cart.items.append((params.arguments or {})["item"])
        if params.name == "fail":
            raise ValueError("a secret of the server")
        return CallToolResult(content=[TextContent(type="text", text=",".join(cart.items))])

    server: Server[Any] = Server("shop", on_list_tools=listing, on_call_tool=call, lifespan=sessions.lifespan)
    server.middleware.append(sessions.middleware)
    return server


async def test_an_mcp_server_without_the_extension(url: str, mode: str) -> None:
    """Handle tools, state and records are there as with the extension."""
    sessions = DurableSessions(url, record=True)
    middleware = [sessions.middleware]
    server: MCPServer[Any] = MCPServer(
        "shop", middleware=middleware, lifespan=sessions.lifespan, log_level="CRITICAL"
    )
    add_tools(server)
    async with visiting(server, sessions, mode) as shop:
        assert [tool.name for tool in (await shop.client.list_tools()).tools][:5] == [*HANDLE_TOOLS, "add"]
        session_id = await shop.begin(title="by middleware")
        await asyncio.gather(*(shop.call("add", session_id=session_id, item=str(n)) for n in range(50)))
        await shop.refused("add_and_fail", session_id=session_id, item="tea", how="crash")
        assert len(await shop.call("look", session_id=session_id)) == 50
        found = await shop.call("resume_session", session_id=session_id, last=2)
        assert (found["title"], found["turns"]) == ("by middleware", 52)
        assert [turn.get("status") for turn in found["last_turns"]] == ["failed", None]
        assert "no session 'x'" in await shop.refused("say", session_id="x", words="hi")
        assert "no session 'x'" in await shop.refused("end_session", session_id="x")
        assert "Field required" in await shop.refused("end_session")


async def test_the_low_level_server(url: str, mode: str) -> None:
    """Its handler asks for the state itself; its exceptions are protocol errors, and on record."""
    sessions = DurableSessions(url, record=True)
    async with Client(low_level(sessions), mode=mode) as client:
        page = await client.list_tools()
        assert [tool.name for tool in page.tools] == [*HANDLE_TOOLS, "add"]
        more = await client.list_tools(cursor=page.next_cursor)
        assert [tool.name for tool in more.tools] == ["fail"]
        begun = (await client.call_tool("create_session")).structured_content
        arguments = {"session_id": begun["session_id"], "item": "tea"}
        await client.call_tool("add", arguments)
        with pytest.raises(MCPError):
            await client.call_tool("fail", arguments)
        result = await client.call_tool("add", arguments)
        assert [getattr(content, "text", "") for content in result.content] == ["tea,tea"]
        session = await sessions.manager.require(begun["session_id"])
        assert [(turn.flow_id, turn.get("status")) for turn in session.history] == [
            ("add", None),
            ("fail", "failed"),
            ("add", None),
        ]


@pytest.mark.parametrize("arguments", [{"session_id": "x", "item": "tea"}, {"item": "tea"}, None])
async def test_the_low_level_server_says_what_is_wrong_with_a_handle(
    sqlite_url: str, mode: str, arguments: dict[str, Any] | None
) -> None:
    """As a failed result, which a model can read, not as a protocol error that hides it."""
    sessions = DurableSessions(sqlite_url)
    async with Client(low_level(sessions), mode=mode) as client:
        result = await client.call_tool("add", arguments)
        assert result.is_error
        (content,) = result.content
        wanted = "no session 'x'" if arguments and "session_id" in arguments else "this tool needs a session_id"
        assert getattr(content, "text", "").startswith(wanted)


async def test_what_is_no_tool_call_is_left_alone(sqlite_url: str, mode: str) -> None:
    """A server without tools has none; other requests pass."""
    sessions = DurableSessions(sqlite_url)
    server: MCPServer[Any] = MCPServer("shop", middleware=[sessions.middleware], lifespan=sessions.lifespan)

    @server.resource("shop://opening-hours")
    def hours() -> str:
        return "never"

    async with Client(server, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == HANDLE_TOOLS
        (content,) = (await client.read_resource("shop://opening-hours")).contents
        assert getattr(content, "text", "") == "never"
