"""How much of a session has to be read for its head."""

from __future__ import annotations

from ..recent import Recent

FIRST_LOOK = 4096  # bytes; most heads fit


class HeadSizes:
    """How many bytes at the beginning of a session hold its head, as far as this process has seen it."""

    def __init__(self) -> None:
        self._large: Recent[int] = Recent()

    def of(self, session_id: str) -> int:
        """How many are to be read; of a session that was not seen yet these may be too few."""
        return self._large.get(session_id) or FIRST_LOOK

    def note(self, session_id: str, size: int) -> None:
        """Note how many they are."""
        if size > FIRST_LOOK:
            self._large.put(session_id, size)
        else:
            self._large.drop(session_id)
