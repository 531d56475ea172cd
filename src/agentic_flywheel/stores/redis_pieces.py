r"""Reading a long session document in pieces, so that the server serves others in between.

Appends go on meanwhile. They leave the bytes before the closing ``\n]}`` as they are, so that what was read
is the document of the moment when the reading began; only a document that was written anew, or whose turns were
moved, has to be read again.
"""

from __future__ import annotations

from . import redis_layout as layout
from .deadline import answered
from .redis_pipe import Carrier

PIECE = 4 * 1024**2  # bytes that are read at once; Redis copied 4 MB in 2.6 ms


async def read_rest(pipe: Carrier, key: str, first: bytes, size: int) -> bytes | None:
    """The document of ``size`` bytes whose first piece was read.

    None if it cannot be put together: it was written anew meanwhile, or its head is longer than a piece.
    """
    if not layout.same_place(first, first):
        return None
    kept = len(first) - len(layout.END)  # its end may have been the document's, which an append overwrites
    stop = size - len(layout.END)
    pieces = [memoryview(first)[:kept]]  # put together in one copy: at this size copies take longer than Redis
    for start in range(kept, stop, PIECE):
        pieces.append(await pipe.one("GETRANGE", key, start, min(start + PIECE, stop) - 1))
        answered()
    now = await pipe.one("GETRANGE", key, 0, layout.FRONT_SIZE - 1)
    if not layout.same_place(first, now):
        return None
    return b"".join([*pieces, layout.END])
