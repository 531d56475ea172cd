"""Something about each of what was used last, and nothing about the rest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

REMEMBERED = 10_000


class Recent(Generic[T]):
    """What is known by name, of the names that were used last; older ones are forgotten.

    ``limit`` is how many they are.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str) -> T | None:
        """What is known of a name, if anything. To ask is no use of it."""
        return self._values.get(name)

    def put(self, name: str, value: T) -> None:
        """Know this of a name from now on."""
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def used(self, name: str) -> None:
        """Note that a name, of which something is known, was used."""
        self._values.move_to_end(name)

    def drop(self, name: str) -> None:
        """Know nothing of a name any more."""
        self._values.pop(name, None)

    def names(self) -> list[str]:
        """The names of which something is known, the one last that was used last."""
        return list(self._values)
