"""Durable sessions for any server on the official MCP SDK.

::

    server = MCPServer("shop", extensions=[DurableSessions()])

    @server.tool()
    async def add_to_cart(session_id: str, item: str, cart: State[Cart]) -> list[str]:
        cart.items.append(item)
        return cart.items
"""

from ...errors import MissingExtra

try:
    from .extension import DurableSessions
    from .state import State, get_state
except ModuleNotFoundError as error:
    if error.name and error.name.partition(".")[0] == "mcp":
        raise MissingExtra("DurableSessions for an MCP server", "mcp") from error
    raise

__all__ = ["DurableSessions", "State", "get_state"]
