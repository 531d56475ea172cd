"""The same as the extension, for servers that take none.

The SDK calls its middleware provisional; this is the only module that knows its form. It stands above the place
where results get their wire form, so it gives and takes that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult
from mcp.types import Tool as ListedTool
from mcp_types.methods import serialize_server_result, validate_client_request
from pydantic import BaseModel

from ..tool_sessions.calls import ToolCalls
from ..tool_sessions.handle_tools import HandleTool
from .sdk import refusal


class SessionMiddleware:
    """Adds the handle tools to a server's listing, answers their calls, and stands around all other tool calls."""

    def __init__(self, calls: ToolCalls, tools: Sequence[HandleTool]) -> None:
        self._calls = calls
        self._tools = {
            tool.name: Tool.from_function(
                tool.function, tool.name, description=tool.description, annotations=tool.annotations
            )
            for tool in tools
        }

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Serve a message, or pass it on."""
        if ctx.request_id is None:
            return await call_next(ctx)
        if ctx.method == "tools/list":
            return self._with_ours(ctx, await call_next(ctx))
        if ctx.method == "tools/call":
            return await self._call(ctx, call_next)
        return await call_next(ctx)

    def _with_ours(self, ctx: ServerRequestContext[Any, Any], result: HandlerResult) -> HandlerResult:
        if not isinstance(result, dict) or (ctx.params or {}).get("cursor"):  # once, on the first page
            return result
        listed = [
            ListedTool(
                name=tool.name,
                description=tool.description,
                input_schema=tool.parameters,
                output_schema=tool.output_schema,
                annotations=tool.annotations,
            ).model_dump(by_alias=True, mode="json", exclude_none=True)
            for tool in self._tools.values()
        ]
        whole = {**result, "tools": [*listed, *result["tools"]]}
        return {**result, "tools": serialize_server_result(ctx.method, ctx.protocol_version, whole)["tools"]}

    async def _call(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        params = ctx.params or {}
        name, arguments = params.get("name"), params.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            return await call_next(ctx)  # which refuses it
        if tool := self._tools.get(name):
            validate_client_request(ctx.method, ctx.protocol_version, ctx.params)
            return _on_the_wire(ctx, await _answer(tool, dict(arguments)))
        try:
            result = await self._calls.around(name, arguments, lambda: call_next(ctx))
        except ToolError as error:  # ours, or one of a handler of the low-level server, which would hide it
            result = refusal(str(error))
        return _on_the_wire(ctx, result)


async def _answer(tool: Tool, arguments: dict[str, Any]) -> CallToolResult:
    try:
        answer: CallToolResult = await tool.run(arguments, Context(), convert_result=True)
    except ToolError as error:
        return refusal(str(error))
    return answer


def _on_the_wire(ctx: ServerRequestContext[Any, Any], result: HandlerResult) -> HandlerResult:
    """A result of ours in the form of the client's protocol version; others have theirs already."""
    if not isinstance(result, BaseModel):
        return result
    dumped = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return serialize_server_result(ctx.method, ctx.protocol_version, dumped)
