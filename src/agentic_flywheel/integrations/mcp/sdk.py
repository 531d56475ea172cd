"""The official SDK, as far as `Framework` is about it."""

from __future__ import annotations

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent

from ..tool_sessions.framework import Framework
from ..tool_sessions.outcome import Outcome
from ..tool_sessions.principal import principal

SDK = Framework(ToolError, lambda: principal(get_access_token()), Outcome.of_result)


def refusal(text: str) -> CallToolResult:
    """A failed call, as its client sees it."""
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
