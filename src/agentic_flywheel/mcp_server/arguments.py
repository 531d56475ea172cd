"""What the tools take, with the descriptions that models read."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.types import ToolAnnotations
from pydantic import Field

Handle = Annotated[
    str, Field(description="the session's handle, as create_session, run_flow or list_sessions gave it")
]
Question = Annotated[str, Field(description="what was asked", min_length=1)]
FlowId = Annotated[str, Field(description="a flow's id, as list_flows gives it")]
LastTurns = Annotated[
    int, Field(ge=0, le=200, description="how many of the newest turns to return word for word, if they fit")
]
Tokens = Annotated[
    int,
    Field(
        ge=1000,
        le=100_000,
        description="how many tokens the result may cost, estimated; it is there twice, as text and as structured "
        "content, and each of the two keeps to it",
    ),
]
Values = Annotated[dict[str, Any], Field(description="keys and JSON values")]


def add_tool(
    server: MCPServer[Any],
    tool: Callable[..., Any],
    *,
    description: str | None = None,
    reads: bool = False,
    destroys: bool = False,
) -> None:
    """Register a tool under its own name, described by its docstring if nothing else is given.

    Args:
        server: where to.
        tool: an async function.
        description: what a model reads.
        reads: it changes nothing.
        destroys: what it removes is gone for good.
    """
    hints = ToolAnnotations(read_only_hint=reads, destructive_hint=destroys, open_world_hint=False)
    server.add_tool(tool, description=description or cleandoc(tool.__doc__ or ""), annotations=hints)
