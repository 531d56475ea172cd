"""Whether a server has been there all the time."""

from __future__ import annotations

import time
from typing import Any

IDLE_SECONDS = 4.0
"""How long a connection is kept that nobody uses. Both Node and uvicorn close one after 5 s, and a question that
is sent at that moment is lost."""


class Presence:
    """Tells times apart in which a server was there without interruption, as far as its connections show it.

    A server that was restarted or replaced has lost its connections. A proxy before it keeps them; but then
    something was answered with an error meanwhile, or nothing was asked for longer than a restart takes.
    """

    def __init__(self) -> None:
        self.last_period = object()  # the one in which the server answered last
        self._streams: set[Any] = set()
        self._answered_at = 0.0

    @property
    def period(self) -> object:
        """Stands for the time since the last possible interruption: the same object as long as there is none."""
        if self._idle() or not any(map(_is_open, self._streams)):
            self.interrupted()
        return self.last_period

    def answered(self, stream: Any) -> None:
        """The server answered on a connection (the ``network_stream`` of the response)."""
        if stream not in self._streams:
            if not any(map(_is_open, self._streams)):
                self.interrupted()
            self._streams = {each for each in self._streams if _is_open(each)} | {stream}
        self._answered_at = time.monotonic()

    def interrupted(self) -> None:
        """The server was not there, or may not have been."""
        self.last_period = object()
        self._streams.clear()

    def _idle(self) -> bool:
        return time.monotonic() - self._answered_at > IDLE_SECONDS


def _is_open(stream: Any) -> bool:
    """Whether a connection is still there. One with an answer under way may count as gone, but not all of them."""
    return not stream.get_extra_info("is_readable")
