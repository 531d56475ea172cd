"""What is not stored of a recorded call: values of arguments whose names look like credentials."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

MASK = "[masked]"

_ANYWHERE = re.compile(
    "password|passwd|passphrase|passcode|secret|credential|(api|private|access|signing|encryption)key"
    "|(auth|access|refresh|bearer|session|id)token"
)
_AS_A_WORD = frozenset({"authorization", "bearer", "cookie", "cvc", "cvv", "jwt", "otp", "pin", "pwd", "token"})
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# In its messages the SDK quotes the values that it refused.
_QUOTED = re.compile(r"input_value=.*, input_type=")
_SHORTEST = 4  # characters; to look for shorter ones in a text would spoil it


def looks_like_a_credential(name: str) -> bool:
    """Whether what bears this name should not be stored: ``password``, ``apiKey``, ``db_secret``, ``token``."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(_ANYWHERE.search("".join(words))) or not _AS_A_WORD.isdisjoint(words)


@dataclass(frozen=True, slots=True)
class Masked:
    """Arguments as they may be stored, and what was masked in them, so that texts can be cleared of it, too."""

    arguments: dict[str, Any]
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
    """Masks what looks like a credential, and what bears one of these names, at any depth."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = frozenset(names)

    def of(self, arguments: dict[str, Any]) -> Masked:
        """The arguments of a call as they may be stored."""
        secrets: set[str] = set()
        masked = self._masked(arguments, secrets)
        longest_first = sorted(secrets, key=len, reverse=True)
        return Masked(masked, tuple(secret for secret in longest_first if len(secret) >= _SHORTEST))

    def _masked(self, value: Any, secrets: set[str]) -> Any:
        if isinstance(value, list):
            return [self._masked(item, secrets) for item in value]
        if not isinstance(value, dict):
            return value
        result = {}
        for name, item in value.items():
            hidden = name in self._names or looks_like_a_credential(name)
            if hidden:
                secrets.update(_texts_in(item))
            result[name] = MASK if hidden else self._masked(item, secrets)
        return result


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
