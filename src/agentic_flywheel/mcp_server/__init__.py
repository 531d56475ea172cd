"""The MCP server: durable sessions and flows as tools, for clients of either protocol era.

This room and the integrations are the only ones that import the MCP SDK.
"""

from ..errors import MissingExtra

try:
    from .server import build_server, serve_stdio
except ModuleNotFoundError as error:
    if error.name and error.name.partition(".")[0] == "mcp":
        raise MissingExtra("the MCP server", "mcp") from error
    raise

__all__ = ["build_server", "serve_stdio"]
