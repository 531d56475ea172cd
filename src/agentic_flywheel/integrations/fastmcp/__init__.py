"""Durable sessions for any server on FastMCP 4.

::

    sessions = DurableSessions()
    server = FastMCP("shop", middleware=[sessions], providers=[sessions])

    @server.tool
    async def add_to_cart(session_id: str, item: str, cart: State[Cart]) -> list[str]:
        cart.items.append(item)
        return cart.items
"""

from ...errors import MissingExtra

try:
    from .sessions import DurableSessions
    from .state import State, get_state
    from .state_store import SessionStateStore
except ModuleNotFoundError as error:
    if error.name and error.name.partition(".")[0] in ("fastmcp", "key_value", "mcp", "uncalled_for"):
        raise MissingExtra("DurableSessions for a FastMCP server", "fastmcp") from error
    raise

__all__ = ["DurableSessions", "SessionStateStore", "State", "get_state"]
