"""Which names promise a credential."""

from __future__ import annotations

import re
from functools import lru_cache

from .formats import may_hold_one

_ANYWHERE = re.compile(
    "password|passwd|passphrase|passcode|secret|credential|(api|private|access|signing|encryption)key"
    "|(auth|access|refresh|bearer|session|id)token"
)
_AS_A_WORD = frozenset({"authorization", "bearer", "cookie", "cvc", "cvv", "jwt", "otp", "pin", "pwd", "token"})
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# A name that ends so says something about a credential, and bears none: token_count, password_hint, token_url.
_ABOUT = frozenset({
    "at", "count", "counts", "enabled", "endpoint", "env", "expires", "expiry", "field", "file", "hint", "length",
    "limit", "max", "min", "name", "names", "policy", "required", "set", "ttl", "type", "uri", "url", "usage",
})  # fmt: skip


def looks_like_a_credential(name: str) -> bool:
    """Whether what bears this name should not be stored: ``password``, ``apiKey``, ``db_secret``, ``token``."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    return bool(_ANYWHERE.search("".join(words))) or not _AS_A_WORD.isdisjoint(words)


@lru_cache(maxsize=4096)  # it is asked at each save, for each name in what is saved; the same few come again
def is_harmless(name: str) -> bool:
    """Whether a name promises no credential, and holds none itself."""
    return not looks_like_a_credential(name) and not may_hold_one(name)
