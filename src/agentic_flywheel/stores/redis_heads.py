"""How much of a session has to be read for its head, or for all of it."""

from __future__ import annotations

from ..recent import Recent

FIRST_LOOK = 4096  # bytes; most heads fit
_SHORT = 0  # all of the session is in the first look


class HeadSizes:
    """How many bytes at the beginning of a session hold its head, as far as this process has seen it."""

    def __init__(self) -> None:
        self._known: Recent[int] = Recent()

    def of(self, session_id: str) -> int:
        """How many are to be read; of a session that was not seen yet these may be too few."""
        return self._known.get(session_id) or FIRST_LOOK

    def hold_all(self, session_id: str) -> bool:
        """Whether a first look saw all of a session when it was seen last."""
        return self._known.get(session_id) == _SHORT

    def note(self, session_id: str, size: int) -> None:
        """Note how many they are."""
        if size > FIRST_LOOK:
            self._known.put(session_id, size)
        else:
            self._known.drop(session_id)

    def note_all(self, session_id: str) -> None:
        """Note that the first look saw all of it."""
        self._known.put(session_id, _SHORT)
