"""Streams of events, as flow servers send them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]


class EventReader:
    """Finds the events in a stream that arrives in pieces, and hands each of them on.

    An event is a JSON object on a line of its own. The line may begin with ``data:``, as server-sent events do;
    none of the products spreads one over several lines, and what other lines say (``id:``, ``message:``) does not
    matter to us.

    Args:
        take: is handed each event.
        decode: makes an event of its JSON; raises a `ValueError` where it is none.
    """

    def __init__(self, take: Callable[[Event], None], decode: Callable[[bytes], Any]) -> None:
        self._take = take
        self._decode = decode
        self._held: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Take a piece of the stream, which may begin and end anywhere.

        Raises:
            ValueError: a line that has to be JSON is not.
        """
        first, *others = piece.split(b"\n")
        self._held.append(first)
        for line in others:
            self.flush()
            self._held.append(line)

    def flush(self) -> None:
        """Take the end of the stream for the end of a line, too; for the errors see `feed`."""
        line = b"".join(self._held).strip().removeprefix(b"data:").lstrip()
        self._held.clear()
        if line.startswith(b"{"):
            self._take(self._decode(line))
