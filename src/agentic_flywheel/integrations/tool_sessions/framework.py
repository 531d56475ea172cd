"""What differs between the frameworks that servers are written in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .outcome import Outcome


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework for MCP servers.

    Args:
        tool_error: its exception for a tool that fails, the only one whose text is sure to reach the client.
        principal: who makes the call that is being served, as `principal_of` names them; `NOBODY` where nobody has
            to say.
        outcome: what came of a call, by the result that its tool gave.
    """

    tool_error: Callable[[str], Exception]
    principal: Callable[[], str]
    outcome: Callable[[Any], Outcome]
