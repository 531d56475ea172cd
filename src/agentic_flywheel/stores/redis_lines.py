"""The lines of a history in a document, split from its bytes only where somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

BETWEEN = b",\n"
NEAR_THE_END = 256  # so many last lines are found from the end, without splitting the rest


class Lines(Sequence[bytes]):
    """The lines between two places of a document.

    Their count is known without splitting. Until somebody wants an early one, they stay the one piece of memory
    that came from the server: to slice it costs more than to fetch it.
    """

    __slots__ = ("_count", "_document", "_split", "_start", "_stop")

    def __init__(self, document: bytes, start: int, stop: int, count: int) -> None:
        self._document = document
        self._start = start
        self._stop = stop
        self._count = count
        self._split: list[bytes] | None = None if count else []

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        places = range(self._count)[index]
        if isinstance(places, int):
            return self._from(places)[0]
        if not places:
            return []
        if places.step != 1:
            return [self._all()[place] for place in places]
        return self._from(places[0])[: len(places)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Lines | list):
            return NotImplemented
        return len(self) == len(other) and self._all() == list(other)

    __hash__ = None  # type: ignore[assignment]  # a list has none either

    def __repr__(self) -> str:
        return f"<{self._count} lines>"

    def _from(self, place: int) -> list[bytes]:
        """The lines from a place on, at least; exactly those if they are near the end."""
        count = self._count - place
        if self._split is None and count <= NEAR_THE_END:
            before = self._start - 1  # a newline stands before the first line, too
            at = self._stop
            for _ in range(count):
                at = self._document.rfind(b"\n", before, at)
            return self._document[at + 1 : self._stop].split(BETWEEN)
        return self._all()[place:]

    def _all(self) -> list[bytes]:
        if self._split is None:
            self._split = self._document[self._start : self._stop].split(BETWEEN)
            self._document = b""  # the lines are all that is needed of it
        return self._split
