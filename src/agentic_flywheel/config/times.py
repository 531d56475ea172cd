"""How long things are kept."""

from __future__ import annotations

import msgspec

from ..errors import ConfigError

WEEK = 7 * 24 * 3600
LONGEST_TTL = 100 * 365 * 24 * 3600


class BadSetting(ConfigError, ValueError):
    """A value that a setting cannot have."""


class TimesToLive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds that each kind of thing is kept after its last use; 0 keeps for ever."""

    session: int = WEEK
    execution: int = WEEK
    history: int = WEEK

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= LONGEST_TTL:
                raise BadSetting(
                    f"ttl.{name} is {getattr(self, name)}; it is a number of seconds up to {LONGEST_TTL} (100 "
                    "years), 0 to keep for ever"
                )
