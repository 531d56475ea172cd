"""The beginning of a JSON list that may be too long to be read to its end."""

from __future__ import annotations

import re

LONG = 256 * 1024
"""Bytes from which on a list is looked at while it arrives; a shorter one is read faster than looked through."""

_SIGN = re.compile(rb'["\[\]{}]')
_END_OF_TEXT = re.compile(rb'["\\]')


class ListHead:
    """Takes a list piece by piece, and says when there is enough of it.

    Args:
        count: so many elements are enough; None: as many as there are.
        limit: so many bytes are enough, if there are two elements in them.
    """

    def __init__(self, count: int | None, limit: int) -> None:
        self._count = count
        self._limit = limit
        self._data = bytearray()
        self._at = 0
        self._depth = 0
        self._in_text = False
        self._elements = 0
        self._end = 0  # of the last element that is complete
        self._enough = False

    def feed(self, piece: bytes) -> bool:
        """Take the next piece; True if no more of them are needed."""
        self._data += piece
        if len(self._data) >= LONG:
            self._scan()
            counted = self._count is not None and self._elements >= self._count
            self._enough = counted or (len(self._data) >= self._limit and self._elements >= 2)
        return self._enough

    def closed(self) -> bytes:
        """The list that was fed, or the complete elements of its beginning as a list."""
        return bytes(self._data[: self._end]) + b"]" if self._enough else bytes(self._data)

    def _scan(self) -> None:
        """Look for the ends of elements in what was not looked at yet."""
        while found := (_END_OF_TEXT if self._in_text else _SIGN).search(self._data, self._at):
            self._at = found.end()
            sign = found[0]
            if sign == b"\\":
                self._at += 1  # whatever follows is text
            elif sign == b'"':
                self._in_text = not self._in_text
            else:
                self._depth += 1 if sign in b"[{" else -1
                if self._depth == 1 and sign in b"]}":
                    self._elements += 1
                    self._end = self._at
        self._at = max(self._at, len(self._data))
