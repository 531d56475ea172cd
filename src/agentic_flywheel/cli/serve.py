"""``flywheel mcp``."""

from __future__ import annotations

import typer

from .options import options_of


def mcp(context: typer.Context) -> None:
    """Serve sessions and flows to an MCP client, over stdin and stdout.

    An MCP client starts this by itself; 'flywheel demo' prints what to put into its settings.
    """
    settings = options_of(context).settings()
    from ..mcp_server import serve_stdio

    serve_stdio(settings)
