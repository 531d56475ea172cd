"""Room for a head that outgrows its block: a long history is moved piece by piece; see `redis_layout`."""

from __future__ import annotations

from . import redis_layout as layout
from .deadline import answered
from .redis_lane import Command
from .redis_pipe import Carrier
from .redis_watch import Watcher

PIECE = 1024**2  # bytes that are moved at once; more if a turn is longer


async def make_room(pipe: Carrier, key: str, epoch: str, offset: int) -> bool:
    """Have the history of a session start at an offset at least; False if it is not that history any more.

    Others may do the same meanwhile: whoever comes by moves the next piece.
    """
    while (gap := await move_piece(pipe, key, epoch, offset)) is not None:
        if gap == 0:
            return True
        answered()
    return False


async def move_piece(pipe: Carrier, key: str, epoch: str, offset: int) -> int | None:
    """Move the next piece of a history that is to start at an offset at least, or go on with what others began.

    Gives where the spaces are then, 0 if the room is there; None if the history is another one.
    """
    async with pipe.watching(key) as watcher:
        while True:
            start, size = await watcher.watch(key, ("GETRANGE", key, 0, layout.FRONT_SIZE - 1), ("STRLEN", key))
            front = layout.Front.of(start)
            if front is None or front.mark.epoch != epoch:
                return None
            if not front.has_gap and front.head >= offset:
                return 0
            move = _Move(key, front, start, size, offset)
            if await watcher.write(*move.commands(await move.piece(watcher))):
                return move.gap


class _Move:
    """The next piece to be moved: what stands before ``stop``, by ``width`` bytes."""

    def __init__(self, key: str, front: layout.Front, start: bytes, size: int, offset: int) -> None:
        self._key = key
        self._front = front
        self._start = start
        self._first = not front.has_gap
        self._stop, self._width = front.gap_at
        if self._first:
            self._stop, self._width = size - len(layout.END), offset - front.head
        self.gap = 0

    async def piece(self, watcher: Watcher) -> bytes:
        """The bytes to be moved: whole lines, or all that are left."""
        first, at = self._front.history_at, self._stop
        read: list[bytes] = []
        while at > first:
            before, at = at, max(first, at - PIECE)
            read.insert(0, await watcher.ask("GETRANGE", self._key, at, before - 1))
            newline = read[0].find(b"\n", 0, len(read[0]) - (len(read) == 1))
            if at > first and newline >= 0:
                self.gap = at + newline + 1
                read[0] = read[0][newline + 1 :]
                break
        return b"".join(read)

    def commands(self, piece: bytes) -> list[Command]:
        """What moves them, leaves spaces where they stood, and says so in the front."""
        key, head, width = self._key, self._front.head, self._width
        at = self._stop - len(piece)
        if self.gap:
            front = layout.moved(self._start, head, self.gap, width)
        else:  # all of it was moved: now the spaces are the head's
            at, piece = head, layout.HISTORY + piece
            front = layout.moved(self._start, head + width, 0, 0)
        # But for the first time, spaces stand behind what was not moved yet.
        blank = width if self._first else min(width, len(piece))
        return [
            ("SETRANGE", key, at + width, piece + layout.END if self._first else piece),
            ("SETRANGE", key, at, b" " * blank),
            ("SETRANGE", key, 0, front),
        ]
