"""The time to live of a session need not begin again at each use of it, since it is exact to a second."""

from __future__ import annotations

from collections.abc import Callable

from ..recent import Recent

LONG = 3600  # seconds; of a shorter time to live a second is not to be lost


class Lifetimes:
    """Of which sessions the time to live began again within this second, so that it need not once more.

    ``clock`` is a monotonic one, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun: Recent[tuple[int, int]] = Recent()

    def is_due(self, session_id: str, ttl: int | None = None) -> bool:
        """Whether the time to live, this one if it is told, has to begin again at a use of the session."""
        noted = self._begun.get(session_id)
        if noted is None:
            return True
        second, begun = noted
        return second != int(self._clock()) or 0 < begun < LONG or ttl not in (None, begun)

    def began(self, session_id: str, ttl: int) -> None:
        """Note that it began just now, in seconds; 0 keeps for ever."""
        self._begun.put(session_id, (int(self._clock()), ttl))

    def forget(self, session_id: str) -> None:
        """Note that a session was removed."""
        self._begun.drop(session_id)
