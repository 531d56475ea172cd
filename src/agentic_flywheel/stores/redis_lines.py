"""The lines of a history in a document, split from its bytes only where somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

BETWEEN = b",\n"
NEAR_THE_END = 64  # so many last lines are found from the end, without splitting the rest


def split_lines(body: bytes, *, gap: bool = False) -> list[bytes]:
    """The turn lines in a piece of a history; spaces may stand before one of them if there is a ``gap``."""
    lines = body.split(BETWEEN) if body else []
    return [line.lstrip(b" ") for line in lines] if gap else lines


def last_lines(body: bytes, stop: int, count: int, *, gap: bool = False) -> list[bytes] | None:
    """So many turn lines before a place; None if a newline is missing before one of them. ``gap`` as `split_lines`.

    To look for newlines from the end is a third of the work of splitting.
    """
    lines = []
    for _ in range(count):
        newline = body.rfind(b"\n", 0, stop)
        if newline < 0:
            return None
        lines.append(body[newline + 1 : stop])
        stop = newline - 1  # a comma stands before it, or what the history starts with
    lines.reverse()
    return [line.lstrip(b" ") for line in lines] if gap else lines


class Lines(Sequence[bytes]):
    """The lines between two places of a document.

    Their count is known without splitting. Until somebody wants an early one, they stay the one piece of memory
    that came from the server: to slice it costs more than to fetch it.
    """

    __slots__ = ("_count", "_document", "_end", "_gap", "_split", "_start", "_stop")

    def __init__(self, document: bytes, start: int, stop: int, count: int, *, gap: bool = False) -> None:
        self._document = document
        self._start = start
        self._stop = stop
        self._count = count
        self._gap = gap
        self._split: list[bytes] | None = None if count else []
        self._end: list[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        places = range(self._count)[index]
        if isinstance(places, int):
            lines, first = self._from(places)
            return lines[places - first]
        if not places:
            return []
        lines, first = self._from(min(places[0], places[-1]))
        return [lines[place - first] for place in places]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Lines | list):
            return NotImplemented
        return len(self) == len(other) and self._all() == list(other)

    __hash__ = None  # type: ignore[assignment]  # a list has none either

    def __repr__(self) -> str:
        return f"<{self._count} lines>"

    def _from(self, place: int) -> tuple[list[bytes], int]:
        """Lines among which are all from a place on, and the place of the first of them."""
        if self._split is None and place >= self._count - NEAR_THE_END:
            if self._end is None:
                self._end = self._last(min(NEAR_THE_END, self._count))
            return self._end, self._count - len(self._end)
        return self._all(), 0

    def _last(self, count: int) -> list[bytes]:
        lines = last_lines(self._document, self._stop, count, gap=self._gap)
        return lines or []  # a newline stands before the first line, too

    def _all(self) -> list[bytes]:
        if self._split is None:
            self._split = split_lines(self._document[self._start : self._stop], gap=self._gap)
            self._document = b""  # the lines are all that is needed of it
        return self._split
