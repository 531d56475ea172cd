"""Whether a server has been there all the time."""

from __future__ import annotations

import select
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
        self._sockets: dict[Any, Any] = {}  # by stream: to ask the stream for it each time costs more than the rest
        self._answered_at = 0.0

    @property
    def period(self) -> object:
        """Stands for the time since the last possible interruption: the same object as long as there is none."""
        if self._idle() or not self._is_there():
            self.interrupted()
        return self.last_period

    def answered(self, stream: Any) -> None:
        """The server answered on a connection (the ``network_stream`` of the response)."""
        if stream not in self._sockets:
            if not self._is_there():
                self.interrupted()
            self._sockets = {each: socket for each, socket in self._sockets.items() if is_open(socket)}
            self._sockets[stream] = stream.get_extra_info("socket")
        self._answered_at = time.monotonic()

    def interrupted(self) -> None:
        """The server was not there, or may not have been."""
        self.last_period = object()
        self._sockets.clear()

    def _is_there(self) -> bool:
        return any(map(is_open, self._sockets.values()))

    def _idle(self) -> bool:
        return time.monotonic() - self._answered_at > IDLE_SECONDS


def is_open(socket: Any) -> bool:
    """Whether a connection is still there. One with an answer under way may count as gone, but not all of them."""
    if socket is None or socket.fileno() < 0:
        return False
    watch = select.poll()
    watch.register(socket, select.POLLIN)
    return not watch.poll(0)
