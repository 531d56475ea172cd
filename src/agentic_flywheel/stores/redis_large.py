"""Writes of so many bytes that no script is handed them; see `redis_watch`. They answer as the scripts do."""

from __future__ import annotations

from typing import Any

from . import redis_layout as layout
from . import redis_watch
from .base import Change, Mark
from .redis_lane import Command
from .redis_pieces import read_version
from .redis_pipe import Carrier
from .redis_records import expiry, lifetime

_ABSENT = -2  # what PTTL says of a key that is not there


def is_large(change: Change) -> bool:
    """Whether an append has more to write than a script is handed."""
    size = sum(map(len, change.added))
    return size + (0 if change.head == change.base_head else len(change.head)) >= redis_watch.LARGE


class Append:
    """Appends turns to a session document and replaces its head, as ``lua/append.lua``; it gives up no claim."""

    def __init__(self, key: str, change: Change, base: Mark, mark: Mark, limit: int, *, renews: bool) -> None:
        self._key = key
        self._change = change
        self._base = base
        self._mark = mark
        self._limit = limit
        self._renews = renews
        self._rest = layout.rest_of(change.head)
        self._stays = change.head == change.base_head
        self._tail = layout.end_of(change.added, base.total)

    async def write(self, pipe: Carrier) -> Any:
        """Write them, if the document is still what the writer saw."""
        key = self._key
        look: list[Command] = [("GETRANGE", key, 0, layout.FRONT_SIZE - 1), ("STRLEN", key), ("PTTL", key)]
        async with pipe.watching(key) as watcher:
            while True:
                start, size, left, end = await watcher.watch(key, *look, ("GETRANGE", key, -len(layout.END), -1))
                front = layout.Front.of(start)
                if front is None or front.mark.version != self._base.version or end != layout.END:
                    return self._instead(front, size, left)
                place = self._place(front, size)
                wanted = size - len(layout.END) + len(self._tail) + place - front.head
                if 0 < self._change.fence < front.fence:
                    return [b"fenced"]
                if wanted > self._limit:
                    return [b"full", wanted]
                if place > front.head:
                    return [b"room", place]
                if await watcher.write(*self._commands(front, start, size, left)):
                    return wanted

    def _instead(self, front: layout.Front | None, size: int, left: int) -> Any:
        """What to answer where the document is another one: it may have been this very write."""
        if front is not None and front.mark.version == self._change.version:
            return size
        return [b"absent" if left == _ABSENT else b"changed"]

    def _place(self, front: layout.Front, size: int) -> int:
        """Where the history has to start; as `append.lua`, with a hundredth of what would have to be moved."""
        used = layout.size_of_head(self._rest)
        if self._stays or used <= front.head:
            return front.head
        return max(layout.block_for(self._rest), layout.in_blocks(used + size // 100))

    def _commands(self, front: layout.Front, start: bytes, size: int, left: int) -> list[Command]:
        change, key = self._change, self._key
        fence = max(change.fence, front.fence)
        new = layout.front_of(self._mark, self._rest, change.last_active, change.ttl, front.head, fence)
        new = layout.with_place(new, start)
        if not self._stays:
            new = (new + self._rest).ljust(front.used)
        commands: list[Command] = [("SETRANGE", key, 0, new)]
        if change.added:
            commands.append(("SETRANGE", key, size - len(layout.END), self._tail))
        if self._renews or (change.ttl and left < 0):
            commands.append(lifetime(key, change.ttl))
        return commands


async def put(pipe: Carrier, key: str, change: Change, document: bytes) -> list[bytes]:
    """Write a whole session document, if what it replaces is what the writer saw, as ``lua/replace.lua``.

    What somebody else wrote has no version but its bytes, and is read for that.
    """
    seen = change.base.version if change.base else ""
    look: list[Command] = [("GETRANGE", key, 0, layout.FRONT_SIZE - 1), ("STRLEN", key), ("EXISTS", key)]
    commands: list[Command] = [("SET", key, document, *expiry(change.ttl))]
    async with pipe.watching(key) as watcher:
        while True:
            start, size, there = await watcher.watch(key, *look)
            front = layout.Front.of(start)
            found, fence = (front.mark.version, front.fence) if front is not None else ("", 0)
            if found == change.version:
                return [b"stored"]
            if there and seen.startswith(layout.FOREIGN) and not found:
                found = await read_version(watcher.ask, key, size)
            if found != seen or bool(there) != bool(seen):
                return [b"absent" if not there else b"changed" if seen else b"present"]
            if 0 < change.fence < fence:
                return [b"fenced"]
            if fence > change.fence:
                commands[1:] = [("SETRANGE", key, 0, layout.fenced(document, fence))]
            if await watcher.write(*commands):
                return [b"stored"]
