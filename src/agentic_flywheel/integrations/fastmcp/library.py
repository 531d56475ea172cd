"""FastMCP, as far as `Framework` is about it."""

from __future__ import annotations

from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_access_token
from fastmcp.tools.base import InputRequiredToolResult, ToolResult
from mcp.types import CallToolResult

from ..tool_sessions.framework import Framework
from ..tool_sessions.outcome import Outcome
from ..tool_sessions.principal import principal


def _outcome(result: object) -> Outcome:
    if isinstance(result, InputRequiredToolResult) or not isinstance(result, ToolResult):
        return Outcome("asking")  # or put off, as a background task: it has not run either
    return Outcome.of_result(
        CallToolResult(
            content=result.content, structured_content=result.structured_content, is_error=result.is_error
        )
    )


FASTMCP = Framework(ToolError, lambda: principal(get_access_token()), _outcome)
