"""The turns of a session as a store has them, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload


class GrowingLines(Sequence[bytes]):
    """Lines that came from a store, and those that were added since; the former are left as they are."""

    __slots__ = ("_added", "_came")

    def __init__(self, came: Sequence[bytes] = (), added: Iterable[bytes] = ()) -> None:
        self._came = came
        self._added = list(added)

    def __len__(self) -> int:
        return len(self._came) + len(self._added)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        first = len(self._came)
        places = range(len(self))[index]
        if isinstance(places, int):
            return self._came[places] if places < first else self._added[places - first]
        if not places or places.step != 1:
            return [self[place] for place in places]
        start, stop = places[0], places[-1] + 1
        came = self._came[min(start, first) : min(stop, first)]
        return [*came, *self._added[max(start - first, 0) : max(stop - first, 0)]]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._came
        yield from self._added

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GrowingLines | list):
            return NotImplemented
        return len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # a list has none either

    def extend(self, lines: Iterable[bytes]) -> None:
        """Put others behind them."""
        self._added.extend(lines)

    def cut_and_extend(self, kept: int, lines: Iterable[bytes]) -> None:
        """Keep only so many of the first lines, and put others behind them; cheap where all are kept."""
        if kept < len(self._came):
            self._came = self._came[:kept]
        del self._added[max(kept - len(self._came), 0) :]
        self._added.extend(lines)

    def copy(self) -> GrowingLines:
        """The same lines, to grow on their own."""
        return GrowingLines(self._came, self._added)


def common_beginning(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """How many of the first lines of both lists are the same.

    Halves of what is left are compared, at the speed of memory: to look at each line of a long history takes its
    thread for longer than a save may take.
    """
    same, most = 0, min(len(one), len(other))
    while same < most:
        middle = (same + most + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            most = middle - 1
    return same
