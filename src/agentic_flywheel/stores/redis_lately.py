"""What need not be done at each use of a session, since it is exact to a second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

REMEMBERED = 10_000  # sessions of which it is known
LONG = 3600  # seconds; of a shorter time to live a second is not to be lost


class Lately(Generic[T]):
    """By session: what was last done for it; of those used last only."""

    def __init__(self) -> None:
        self._done: OrderedDict[str, T] = OrderedDict()

    def get(self, session_id: str) -> T | None:
        """What was noted of a session; None if nothing was, or is not known any more."""
        return self._done.get(session_id)

    def note(self, session_id: str, what: T) -> None:
        """Note what was done for a session."""
        self._done[session_id] = what
        self._done.move_to_end(session_id)
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Know nothing of a session any more."""
        self._done.pop(session_id, None)


class Lifetimes:
    """Of which sessions the time to live began again within this second, so that it need not once more.

    ``clock`` is a monotonic one, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun: Lately[tuple[int, int]] = Lately()

    def is_due(self, session_id: str, ttl: int | None = None) -> bool:
        """Whether the time to live, this one if it is told, has to begin again at a use of the session."""
        noted = self._begun.get(session_id)
        if noted is None:
            return True
        second, begun = noted
        return second != int(self._clock()) or 0 < begun < LONG or ttl not in (None, begun)

    def began(self, session_id: str, ttl: int) -> None:
        """Note that it began just now, in seconds; 0 keeps for ever."""
        self._begun.note(session_id, (int(self._clock()), ttl))

    def forget(self, session_id: str) -> None:
        """Note that a session was removed."""
        self._begun.forget(session_id)
