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


def _read(name: str, *, front: bool = True) -> Script:
    folder = files(__package__) / "lua"
    names = ["front.lua", name] if front else [name]
    text = "\n".join((folder / part).read_text("utf-8") for part in names)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


APPEND = _read("append.lua")
REPLACE = _read("replace.lua")
FENCE = _read("fence.lua")
ROOM = _read("room.lua")
READ = _read("read.lua")
TOUCH = _read("touch.lua")
ENTRY = _read("entry.lua", front=False)
CLAIM = _read("claim.lua", front=False)
REMOVE = _read("remove.lua", front=False)
RELEASE = _read("release.lua", front=False)

ALL = (APPEND, REPLACE, FENCE, ROOM, READ, TOUCH, ENTRY, CLAIM, REMOVE, RELEASE)
