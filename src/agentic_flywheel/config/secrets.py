"""Settings of what is not stored."""

from __future__ import annotations

import re

import msgspec

from .times import BadSetting


class SecretSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is masked in all that is stored: ``[secrets]``.

    ``names`` are masked beside those that look like a credential's, and ``keep`` are not, though they do.
    ``patterns`` are regular expressions: what they match in a text is masked, too. Without ``mask`` nothing is.
    """

    mask: bool = True
    names: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            try:
                matches_nothing = re.compile(pattern).search("") is not None
            except re.error as error:
                raise BadSetting(f"secrets.patterns: {pattern!r} is no regular expression: {error}") from error
            if matches_nothing:
                raise BadSetting(f"secrets.patterns: {pattern!r} matches where nothing stands; say what has to")
