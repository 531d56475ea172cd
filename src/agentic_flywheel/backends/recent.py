"""What is known of the conversations that were used lately."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

CONVERSATIONS = 10_000
"""Of how many conversations a flow knows something; nothing is lost with the others, they are asked about again."""


class Recent(Generic[T]):
    """Something about each of the conversations that were used last; older ones are forgotten."""

    def __init__(self, limit: int = CONVERSATIONS) -> None:
        self._limit = limit
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, conversation: str) -> T | None:
        """What is known of a conversation, if anything."""
        return self._values.get(conversation)

    def put(self, conversation: str, value: T) -> None:
        """Know this of a conversation from now on."""
        self._values[conversation] = value
        self._values.move_to_end(conversation)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, conversation: str) -> None:
        """Know nothing of a conversation any more."""
        self._values.pop(conversation, None)
