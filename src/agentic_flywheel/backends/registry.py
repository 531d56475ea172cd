"""The flows that are configured, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from difflib import get_close_matches

from ..errors import UnknownFlow
from .base import Flow


class FlowRegistry:
    """The flows that questions can go to; one of them is the default."""

    def __init__(self, flows: Iterable[Flow], default: str) -> None:
        self._flows = {flow.id: flow for flow in flows}
        self.default = default

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def get(self, flow_id: str) -> Flow:
        """The flow of that name.

        Raises:
            UnknownFlow: there is none; the message lists those that there are.
        """
        flow = self._flows.get(flow_id)
        if flow is not None:
            return flow
        near = get_close_matches(flow_id, self._flows, 1)
        hint = f"did you mean {near[0]!r}?" if near else "there are " + ", ".join(sorted(self._flows))
        raise UnknownFlow(f"no flow {flow_id!r} is configured; {hint}")

    def choose(self, named: str | None, current: str | None) -> Flow:
        """Where a question goes: to the flow that is named, else to the session's current one, else to the default.

        A current flow that is no longer configured gives way to the default.

        Raises:
            UnknownFlow: the named flow, or the default, is not configured.
        """
        if named:
            return self.get(named)
        return self._flows.get(current or "") or self.get(self.default)

    async def close(self) -> None:
        """Close the connections of all flows, also if one of them fails at it; they open again on the next use."""
        async with AsyncExitStack() as stack:
            for flow in self:
                stack.push_async_callback(flow.close)
