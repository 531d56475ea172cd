"""Masking: what must not be stored of a document, at any depth, and what stands in its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from ..errors import BadInput
from ..jsontext import decode, encode
from .formats import SHORTEST, mask_in, may_hold_one
from .names import is_harmless, looks_like_a_credential

MASK = "[masked]"

# Of a document, the fields that say which one it is. Masked, a session could not be found again.
_IDENTITY = frozenset({
    "id", "session_id", "turn_id", "flow_id", "backend", "backend_session_id", "current_flow_id", "status",
    "timestamp", "started_at", "holder", "place",
})  # fmt: skip
# How values are written that JSON lacks (see `agentic_flywheel.session.values`).
_NO_TEXT = frozenset({"$datetime", "$enum"})
_OPAQUE = frozenset({"$bytes", "$uuid"})
_SEARCHED = frozenset({str, dict, list})
# In its messages the MCP SDK quotes the values that it refused.
_QUOTED = re.compile(r"input_value=.*, input_type=")
_WORTH_LOOKING_FOR = 4  # characters; to look for shorter ones in a text would spoil it


@dataclass(frozen=True, slots=True)
class Masked:
    """Values as they may be stored, and what was masked in them, so that texts can be cleared of it, too."""

    values: dict[str, Any]
    secrets: tuple[str, ...]

    def clear(self, value: Any) -> Any:
        """A JSON value, a text among them, in which no masked value stands any more."""
        if isinstance(value, str):
            return self._clear_text(value)
        if isinstance(value, list):
            return [self.clear(item) for item in value]
        if isinstance(value, dict):
            return {key: self.clear(item) for key, item in value.items()}
        return value

    def _clear_text(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text

    def clear_error(self, text: str) -> str:
        """The same for an error's text; the values that the SDK quotes in it are cut out, whatever they are."""
        return self._clear_text(_QUOTED.sub(f"input_value={MASK}, input_type=", text))


class Mask:
    """What is masked: values under names that look like credentials, and what has the form of a well-known key.

    Under such a name every text and every number is masked, at any depth; True, False, None and times are not. What
    is masked once stays as it is when it is masked again.

    Args:
        names: further names whose values are masked; capitals do not count.
        patterns: further forms that are masked wherever they stand in a text. They cost every save: each text is
            searched for each of them.
        keep: names whose values are not masked, though they look like a credential's.
        standard: False masks only these ``names`` and ``patterns``.
    """

    def __init__(
        self,
        names: Collection[str] = (),
        patterns: Iterable[str] = (),
        *,
        keep: Collection[str] = (),
        standard: bool = True,
    ) -> None:
        self._names = frozenset(name.casefold() for name in names)
        self._keep = frozenset(name.casefold() for name in keep)
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)
        self._standard = standard
        self._off = not (standard or self._names or self._patterns)

    def also(self, names: Collection[str]) -> Mask:
        """The same with further names."""
        patterns = [pattern.pattern for pattern in self._patterns]
        return Mask([*self._names, *names], patterns, keep=self._keep, standard=self._standard)

    def fields(self, values: dict[str, Any]) -> dict[str, Any]:
        """The fields of a document, in JSON types, as they may be stored; itself where nothing is masked.

        Raises:
            BadInput: they are nested too deeply.
        """
        if self._off:
            return values
        try:
            if not self._patterns and self._is_clean(values.items(), _IDENTITY):
                return values
            return {self.text(name): self._field(name, item) for name, item in values.items()}
        except RecursionError as error:
            raise BadInput("nested too deeply") from error

    def document(self, data: bytes) -> bytes:
        """The same of a JSON object as bytes; the very same ones where nothing is masked."""
        if self._off:
            return data
        values = decode(data)
        masked = self.fields(values)
        return data if masked == values else encode(masked)

    def of(self, values: dict[str, Any]) -> Masked:
        """Named values, the arguments of a call, as they may be stored."""
        secrets: set[str] = set()
        masked = {self.text(name): self._value(item, secrets, self.hides(name)) for name, item in values.items()}
        longest_first = sorted(secrets, key=len, reverse=True)
        return Masked(masked, tuple(secret for secret in longest_first if len(secret) >= _WORTH_LOOKING_FOR))

    def text(self, text: str) -> str:
        """A text without what has the form of a key."""
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return mask_in(text, MASK) if self._standard else text

    def hides(self, name: str) -> bool:
        """Whether texts and numbers under a name are masked."""
        if self._standard and looks_like_a_credential(name):
            return name.casefold() not in self._keep
        return bool(self._names) and name.casefold() in self._names

    def _is_clean(self, items: Iterable[tuple[str, Any]], passed: Collection[str] = ()) -> bool:
        """Whether nothing is to be masked in the values of an object; each save has to see that, so it is quick."""
        for name, item in items:
            if name in passed:
                continue
            if not is_harmless(name) or (self._names and self.hides(name)):
                return False
            if type(item) in _SEARCHED and not self._is_clean_itself(item):
                return False
        return True

    def _is_clean_itself(self, item: str | dict[str, Any] | list[Any]) -> bool:
        if isinstance(item, str):
            return len(item) < SHORTEST or not may_hold_one(item)
        return self._is_clean(item.items() if isinstance(item, dict) else zip(repeat(""), item, strict=False))

    def _field(self, name: str, item: Any) -> Any:
        return item if name in _IDENTITY else self._value(item, None, self.hides(name))

    def _value(self, value: Any, secrets: set[str] | None, hidden: bool) -> Any:
        if isinstance(value, list):
            return [self._value(item, secrets, hidden) for item in value]
        if isinstance(value, dict):
            return self._object(value, secrets, hidden)
        if not hidden:
            return self.text(value) if isinstance(value, str) else value
        if value is None or isinstance(value, bool) or value == "":
            return value
        if secrets is not None:
            secrets.add(str(value))
        return MASK

    def _object(self, value: dict[str, Any], secrets: set[str] | None, hidden: bool) -> Any:
        if len(value) == 1:
            (name,) = value
            if name in _NO_TEXT or (name in _OPAQUE and not hidden):
                return value
            if name in _OPAQUE:
                return MASK
        return {
            self.text(name): self._value(item, secrets, hidden or self.hides(name)) for name, item in value.items()
        }


UNMASKED = Mask(standard=False)
"""Masks nothing."""
