r"""Reading a long session document in pieces, so that the server serves others in between.

Appends go on meanwhile. They leave the bytes before the closing ``\n]}`` as they are, so that what was read
is the document of the moment when the reading began; only a document that was written anew, or whose turns were
moved, has to be read again. One that somebody else wrote may change anywhere: its key is watched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from . import redis_layout as layout
from .deadline import answered
from .redis_pipe import Carrier

PIECE = 4 * 1024**2  # bytes that are read at once; Redis copied 4 MB in 2.6 ms
TIMES = 5  # that what others change meanwhile is read in pieces, before it is read at one go
FIRST_PIECE = 64 * 1024  # bytes of the turns before those at the end, where it is not known how long they are


Ask = Callable[..., Awaitable[Any]]
"""Gives the answer to a command."""


async def read_rest(pipe: Carrier, key: str, first: bytes, size: int) -> bytes | None:
    """The document of ``size`` bytes whose first piece was read.

    None if it cannot be put together: it was written anew meanwhile, or its head is longer than a piece.
    """
    front = layout.Front.of(first)
    if front is None or front.head > len(first):
        return None
    kept = len(first) - len(layout.END)  # its end may have been the document's, which an append overwrites
    stop = size - len(layout.END)
    pieces = [memoryview(first)[:kept]]  # put together in one copy: at this size copies take longer than Redis
    async for piece in _pieces(pipe.one, key, kept, stop):
        pieces.append(memoryview(piece))
    if not await _keeps_turns(pipe, key, front):
        return None
    return b"".join([*pieces, layout.END])


async def read_newest(
    pipe: Carrier, key: str, front: layout.Front, size: int, end: bytes, count: int
) -> bytes | None:
    """The bytes of the newest turns of a document of ``size`` bytes whose ``end`` was read, with its front.

    None if it was written anew meanwhile.

    Raises:
        LookupError: there are not so many.
    """
    at = size - len(end)
    piece, read, step = end[: -len(layout.END)], [], FIRST_PIECE
    if at < front.history_at:
        piece, at = piece[front.history_at - at :], front.history_at
    while (newlines := piece.count(b"\n")) < count:  # one stands before each turn
        if at == front.history_at:
            raise LookupError
        count -= newlines
        read.append(piece)
        before, at = at, max(front.history_at, at - step)
        piece = await pipe.one("GETRANGE", key, at, before - 1)
        step = min(2 * step, PIECE)
        answered()
    _, *lines = piece.rsplit(b"\n", count)
    if read and not await _keeps_turns(pipe, key, front):
        return None
    return b"".join([b"\n".join(lines), *reversed(read)])


async def read_watched(pipe: Carrier, key: str) -> bytes | None:
    """A document that may change anywhere, as it is at one moment; None if it changed while it was read."""
    async with pipe.watching(key) as watcher:
        (size,) = await watcher.watch(key, ("STRLEN", key))
        read = await read_bytes(watcher.ask, key, size)
        return read if await watcher.write() else None


async def read_bytes(ask: Ask, key: str, size: int) -> bytes:
    """So many bytes of a string that nobody changes, or that is watched."""
    return b"".join([piece async for piece in _pieces(ask, key, 0, size)])


async def read_any(pipe: Carrier, key: str) -> bytes:
    """A string, whatever it is; no bytes if there is none."""
    raw: bytes = await pipe.one("GETRANGE", key, 0, PIECE - 1)
    if len(raw) < PIECE:
        return raw
    for _ in range(TIMES):
        if (whole := await read_watched(pipe, key)) is not None:
            return whole
    return await pipe.one("GET", key) or b""


async def read_version(ask: Ask, key: str, size: int) -> str:
    """The version of a document of ``size`` bytes that somebody else wrote."""
    read = layout.sha1()
    async for piece in _pieces(ask, key, 0, size):
        read.update(piece)
    return layout.version_of(read)


async def _pieces(ask: Ask, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes between two places of a document, a piece at a time."""
    for at in range(start, stop, PIECE):
        yield await ask("GETRANGE", key, at, min(at + PIECE, stop) - 1)
        answered()


async def _keeps_turns(pipe: Carrier, key: str, front: layout.Front) -> bool:
    now = layout.Front.of(await pipe.one("GETRANGE", key, 0, layout.FRONT_SIZE - 1))
    return now is not None and now.keeps_turns_of(front)
