"""A flow server's key, and what the server says without it."""

from __future__ import annotations

import re
from typing import Any

from ..jsontext import decode
from ..secrecy import MASK

SHORTEST = 4
"""Characters of a key that is looked for; to look for shorter ones in a text would spoil it."""

_NEVER_ESCAPED = re.compile(r"[A-Za-z0-9_.-]*")


class ServerKey:
    """The key of a server, which may say it again: to repeat a request is a way to answer it, or to refuse it.

    Whatever is kept or shown of what a server says has gone through this, so the key is in none of it, whether it
    has the form of a well-known one or not.

    Attributes:
        value: the key itself; None: the server is asked without one.
    """

    def __init__(self, value: str | None) -> None:
        self.value = value
        self._sought = value if value and len(value) >= SHORTEST else None
        # Letters and digits are never written with a short escape, as line breaks are, which nearly any reply has.
        self._escape = b"\\u00" if _NEVER_ESCAPED.fullmatch(value or "") else b"\\"

    def cleared(self, text: str, instead: str = MASK) -> str:
        """A text with something else in the place of the key."""
        return text.replace(self._sought, instead) if self._sought else text

    def decoded(self, body: bytes) -> Any:
        """The value of a JSON text, without the key.

        Raises:
            ValueError: it is not JSON.
        """
        value = decode(body)
        if not self._may_be_in(body):
            return value
        try:
            return self._without(value)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def _may_be_in(self, body: bytes) -> bool:
        """Whether the key may be in a JSON text: as it is, or written with escapes."""
        return self._sought is not None and (self._escape in body or self._sought.encode() in body)

    def _without(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.cleared(value)
        if isinstance(value, list):
            return [self._without(item) for item in value]
        if isinstance(value, dict):
            return {self.cleared(name): self._without(item) for name, item in value.items()}
        return value
