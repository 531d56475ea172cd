"""The Lua scripts, with their names and digests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    """A script on a key, or on two."""

    text: str
    digest: str

    def on(self, key: str, *arguments: Argument) -> tuple[Argument, ...]:
        """The command that runs it on a key."""
        return ("EVALSHA", self.digest, 1, key, *arguments)

    def on_both(self, key: str, other: str, *arguments: Argument) -> tuple[Argument, ...]:
        """The command that runs it on two keys; in a cluster they have to be on one server."""
        return ("EVALSHA", self.digest, 2, key, other, *arguments)


def _read(name: str, *before: str) -> Script:
    """A script behind what it builds on: no more than that, since each run of it makes those functions anew."""
    folder = files(__package__) / "lua"
    text = "\n".join((folder / part).read_text("utf-8") for part in (*before, name))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


LAYOUT, FRONT = "layout.lua", "front.lua"

APPEND = _read("append.lua", LAYOUT)
REPLACE = _read("replace.lua", LAYOUT, FRONT)
FENCE = _read("fence.lua", LAYOUT, FRONT)
TOUCH = _read("touch.lua", LAYOUT, FRONT)
ENTRY = _read("entry.lua")
CLAIM = _read("claim.lua")
RELEASE = _read("release.lua")

ALL = (APPEND, REPLACE, FENCE, TOUCH, ENTRY, CLAIM, RELEASE)
