"""Ending calls that take longer than they may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from ..errors import Unavailable
from ..stores.deadline import Deadline

T = TypeVar("T")

TICK_SECONDS = 0.005


class Watch:
    """Looks at the deadlines of all calls under way, with one timer for them all.

    A timer for each, as `asyncio.timeout` has one, costs a save a tenth of its time. So a call may take a tick
    longer than its deadline says. Deadlines may be moved while calls are under way.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: set[_Call] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def until(self, deadline: Deadline, call: Awaitable[T], reserve: float) -> T:
        """The answer to a call that comes so many seconds before its deadline.

        Raises:
            Unavailable: it did not come in time; the call was cancelled.
        """
        deadline.is_watched = True
        watched = _Call(deadline, reserve)
        self._begin(watched)
        try:
            return await call
        except asyncio.CancelledError as error:
            if watched.ended_by_us():
                raise Unavailable(
                    "no answer came in time; a write, if it was one, may have been applied"
                ) from error
            raise
        finally:
            self._calls.discard(watched)

    def _begin(self, call: _Call) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # calls and timers belong to the one that made them
            self._loop, self._calls, self._timer = loop, set(), None
        self._calls.add(call)
        if self._timer is None:
            self._timer = loop.call_later(TICK_SECONDS, self._look, loop)

    def _look(self, loop: Any) -> None:
        for call in list(self._calls):
            call.end_if_late()
        self._timer = loop.call_later(TICK_SECONDS, self._look, loop) if self._calls else None


class _Call:
    """A call under way in the current task."""

    __slots__ = ("_cancelling", "_deadline", "_ended", "_reserve", "_task")

    def __init__(self, deadline: Deadline, reserve: float) -> None:
        self._task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # who awaits is in one
        self._cancelling = self._task.cancelling()
        self._deadline = deadline
        self._reserve = reserve
        self._ended = False

    def end_if_late(self) -> None:
        if not self._ended and not self._deadline.remaining(self._reserve):
            self._ended = True
            self._task.cancel()

    def ended_by_us(self) -> bool:
        """Whether the task was cancelled for being late, and by nobody else (as `asyncio.timeout` tells it)."""
        return self._ended and self._task.uncancel() <= self._cancelling
