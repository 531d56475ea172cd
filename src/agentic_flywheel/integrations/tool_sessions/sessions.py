"""What a server's author configures, whatever the framework."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar, Self

from ...manager import SessionManager
from ..redis_manager import RedisSessionManager
from .calls import ToolCalls
from .framework import Framework
from .handle_tools import HandleTool, HandleTools, Names
from .problems import Advice
from .recording import LARGEST, Recorder


class ToolSessions:
    """The common part of each framework's `DurableSessions`, whose docstrings say what the arguments are.

    A subclass names its ``framework``, and stands before the framework's own class among the bases.
    """

    framework: ClassVar[Framework]

    def __init__(
        self,
        url: str | None = None,
        *,
        ttl_seconds: int | None = None,
        record: bool = False,
        mask: Collection[str] = (),
        prefix: str = "",
        names: Mapping[str, str] | None = None,
        manager: SessionManager | None = None,
    ) -> None:
        super().__init__()
        self._owned = None if manager else RedisSessionManager(url=url, ttl_seconds=ttl_seconds)
        self.manager: SessionManager = manager or self._owned  # type: ignore[assignment]  # one of them is there
        called = Names.of(names or {}, prefix)
        advice = Advice(create=called.create_session, listing=called.list_sessions)
        limit = min(LARGEST, self.manager.limits.turn_bytes // 4)
        recorder = Recorder(self.manager.mask.also(mask), limit) if record else None
        self._calls = ToolCalls(self.manager, self.framework, advice, recorder)
        self._handle_tools: list[HandleTool] = HandleTools(self.manager, self.framework, called, advice).all()
        self._names = frozenset(called)

    async def __aenter__(self) -> Self:
        await self.manager.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what is still to be saved, and close files and connections; it may be used again."""
        await self._calls.close()
        if self._owned is not None:
            await self._owned.close()
