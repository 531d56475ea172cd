r"""The session document in Redis: one string that is always one valid JSON object, and can be appended to.

::

    {"revision":        42,"layout":{"version":"…","epoch":"…","turns":  …,"used":  …,"head":  …,"gap":[  …,  …],
    "ttl":  …,"fence":  …},"metadata":{"last_active":"2025-11-18T10:05:00Z",<spaces>"created_at":…},"schema":1,
    "id":…,"context":{…}<spaces>,"history":[
    {"id":"…","timestamp":"…","question":"…","flow_id":"…","response":"…","duration_ms":1234},
    {"id":"…", …}
    ]}

(on one line up to ``"history":[``; broken here to be read). The *front*, up to and with the space for
``last_active``, has a fixed width, so that a script reads and replaces it without parsing. The head is
padded with spaces to a block, so that one of about the same size is written over it in place. Each turn is
a line of its own; JSON escapes newlines inside of strings, so newlines are exact boundaries.

``layout.used`` is the offset of the spaces behind the head, ``layout.head`` that of ``,"history":[``,
``layout.ttl`` the time to live in seconds (0: none), ``layout.fence`` that of the last claim under which the
session was written (0: none).

A head that outgrows its block needs the history moved. A long one is moved piece by piece, the last piece first, so
that Redis serves others in between (`redis_room`). Meanwhile there are spaces between the turns that were moved
and the others, at the beginning of a line: ``layout.gap`` is where, and how many (0, 0: nothing is being moved).

``lua/layout.lua`` and ``lua/front.lua`` know the same front.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from ..errors import Damaged
from ..jsontext import decode
from ..session.parts import take_apart
from .base import Mark, Stored
from .redis_lines import BETWEEN, Lines, last_lines, split_lines

SLOT = 64  # bytes in the front for `"last_active":"…",`
BLOCK = 512  # a head is padded to a multiple of this

_FRONT = (
    '{"revision":%10d,"layout":{"version":"%s","epoch":"%s","turns":%10d,"used":%10d,"head":%10d,'
    '"gap":[         0,         0],"ttl":%10d,"fence":%16d},"metadata":{'
)
_NO_GAP = b"         0,         0"
_FRONT_PATTERN = re.compile(
    rb'\{"revision": *(\d+),"layout":\{"version":"([0-9a-f]{16})","epoch":"([0-9a-f]{16})","turns": *(\d+),'
    rb'"used": *(\d+),"head": *(\d+),"gap":\[([ \d]+,[ \d]+)\],"ttl": *(\d+),"fence": *(\d+)\},"metadata":\{'
)
_SLOT_PATTERN = re.compile(rb'(?:"last_active":"([0-9A-Za-z:.+-]*)",?)? *')
FRONT_SIZE = 229
# Where in the front stand: the number of ``head``, what follows those of ``gap``, the number of ``fence``.
_HEAD_AT, _TTL_AT, _FENCE_AT = 133, 172, 199

FOREIGN = "sha1:"  # what the version of a document begins with that somebody else wrote
sha1 = partial(hashlib.sha1, usedforsecurity=False)

_HEAD_START = b'{"metadata":{'
HISTORY = b',"history":['
END = b"\n]}"


def compose(
    mark: Mark, head: bytes, last_active: str | None, lines: Sequence[bytes], ttl: int, fence: int = 0
) -> bytes:
    """The whole document."""
    rest = rest_of(head)
    offset = block_for(rest)
    start = (front_of(mark, rest, last_active, ttl, offset, fence) + rest).ljust(offset)
    body = b"\n" + BETWEEN.join(lines) if lines else b""
    return start + HISTORY + body + END


def front_of(mark: Mark, rest: bytes, last_active: str | None, ttl: int, offset: int = 0, fence: int = 0) -> bytes:
    """The front, with the space for ``last_active`` that follows it.

    An append leaves the offset, the gap and the fence as they are, where it has no others; its script sees to that.
    """
    used = size_of_head(rest)
    front = _FRONT % (mark.revision, mark.version, mark.epoch, mark.total, used, offset, ttl, fence)
    return front.encode() + slot(rest, last_active)


def end_of(lines: Sequence[bytes], total: int) -> bytes:
    """What stands behind the last of so many turns to the end of the document, with these added."""
    if not lines:
        return END
    return b"%b%b%b" % (BETWEEN if total else b"\n", BETWEEN.join(lines), END)


def rest_of(head: bytes) -> bytes:
    """What of a head stands behind the front and before the history."""
    return head[len(_HEAD_START) : -1]


def slot(rest: bytes, last_active: str | None) -> bytes:
    """The ``last_active`` of the front; a comma follows where the metadata go on."""
    if last_active is None:
        return b" " * SLOT
    comma = b"" if rest.startswith(b"}") else b","
    return (b'"last_active":"%s"%s' % (last_active.encode(), comma)).ljust(SLOT)


def size_of_head(rest: bytes) -> int:
    """How many bytes the front and such a rest of the head take."""
    return FRONT_SIZE + SLOT + len(rest)


def block_for(rest: bytes) -> int:
    """Where the history starts, behind the front and such a rest of the head, with room for a quarter more."""
    size = size_of_head(rest)
    return in_blocks(size + size // 4)


def in_blocks(size: int) -> int:
    """So many bytes and what is missing to a multiple of a block."""
    return -(-size // BLOCK) * BLOCK


def parse(raw: bytes) -> Stored:
    """The session of a document: in our layout without parsing its turns, in any other by parsing all of it.

    Raises:
        Damaged: it is no session document; the message says why.
    """
    front = Front.of(raw)
    if front and raw.endswith(END) and raw.startswith(HISTORY + b"\n", front.head):
        start, stop = front.head + len(HISTORY) + 1, len(raw) - len(END)
        if _count_lines(raw, start, stop) == front.mark.total:
            return front.stored(raw, Lines(raw, start, stop, front.mark.total, gap=front.has_gap))
    return _parse_foreign(raw)


def parse_tail(start: bytes, tail: bytes) -> Stored:
    """The session of a document's bytes before the history, and of its last lines."""
    front = Front.of(start)
    if front is None:
        raise Damaged("its beginning is not in our layout")
    return front.stored(start, split_lines(tail, gap=front.has_gap))


def parse_end(start: bytes, end: bytes, last: int, now: bytes) -> Stored | None:
    """The session of the first and the last bytes of a document, with its ``last`` newest turns.

    None where these bytes do not tell: they are too few, or the document's front has become another one by ``now``,
    when they had been read.
    """
    front = Front.of(start)
    if front is None or not start.startswith(now) or front.used > len(start) or not end.endswith(END):
        return None
    lines = last_lines(end, len(end) - len(END), min(last, front.mark.total), gap=front.has_gap)
    return front.stored(start, lines) if lines is not None else None


def ttl_of(start: bytes) -> int | None:
    """The time to live that the first bytes of a document name, in seconds; None if they are not in our layout."""
    front = _FRONT_PATTERN.match(start)
    return int(front[8]) if front else None


def head_end(start: bytes) -> int | None:
    """How many bytes the front and the head take, by the first ones; None if these are not in our layout."""
    front = Front.of(start)
    return front.used if front is not None else None


def with_place(new: bytes, old: bytes) -> bytes:
    """A front that is to be written, with the place of the history, and of a gap in it, that another one names."""
    return new[:_HEAD_AT] + old[_HEAD_AT:_TTL_AT] + new[_TTL_AT:]


def moved(start: bytes, head: int, gap: int, width: int) -> bytes:
    """The front at the beginning of a document, with another place of the history and of a gap in it."""
    place = b'%10d,"gap":[%10d,%10d' % (head, gap, width)
    return start[:_HEAD_AT] + place + start[_HEAD_AT + len(place) : FRONT_SIZE]


def fenced(start: bytes, fence: int) -> bytes:
    """The front at the beginning of a document, with another fence."""
    return start[:_FENCE_AT] + b"%16d" % fence + start[_FENCE_AT + 16 : FRONT_SIZE]


def holds_head(start: bytes) -> bool:
    """Whether the first bytes of a document are in our layout and hold the whole head."""
    end = head_end(start)
    return end is not None and end <= len(start)


def _count_lines(raw: bytes, start: int, stop: int) -> int:
    return raw.count(b"\n", start, stop) + 1 if stop > start else 0


def digest(raw: bytes) -> str:
    """The version of a document that is not in our layout: what it says is all that tells it from others."""
    return version_of(sha1(raw))


def version_of(read: hashlib._Hash) -> str:
    """The same by what the document was read into."""
    return FOREIGN + read.hexdigest()


class Front(Struct, frozen=True):
    """What the first bytes of a document in our layout say."""

    mark: Mark
    used: int
    head: int
    gap: bytes
    fence: int
    end: int

    @classmethod
    def of(cls, raw: bytes) -> Front | None:
        """That of a document that begins so; None if it is not in our layout."""
        match = _FRONT_PATTERN.match(raw)
        if match is None:
            return None
        revision, version, epoch, turns, used, head, gap, _ttl, fence = match.groups()
        mark = Mark(version.decode(), epoch.decode(), int(revision), int(turns))
        return cls(mark, int(used), int(head), gap, int(fence), match.end())

    @property
    def has_gap(self) -> bool:
        return self.gap != _NO_GAP

    @property
    def gap_at(self) -> tuple[int, int]:
        """Where the spaces between the turns are, and how many; 0 and 0 if there are none."""
        at, width = self.gap.split(b",")
        return int(at), int(width)

    @property
    def history_at(self) -> int:
        """Where what the history says starts."""
        return self.head + len(HISTORY)

    def keeps_turns_of(self, before: Front) -> bool:
        """Whether the turns that another front stood before still stand there, after appends maybe."""
        return (before.mark.epoch, before.head, before.gap) == (self.mark.epoch, self.head, self.gap)

    def stored(self, raw: bytes, lines: Sequence[bytes]) -> Stored:
        """The session that begins so, with these of its turns."""
        rest_at = self.end + SLOT
        last_active = _SLOT_PATTERN.fullmatch(raw[self.end : rest_at])
        if last_active is None:
            raise Damaged("the space for last_active holds something else")
        head = _HEAD_START + raw[rest_at : self.used] + b"}"
        moment = last_active[1].decode() if last_active[1] is not None else None
        return Stored(self.mark, head, moment, lines, self.mark.total - len(lines))


def _parse_foreign(raw: bytes) -> Stored:
    try:
        parts = take_apart(decode(raw))
    except ValueError as error:
        raise Damaged(f"is not a session document: {error}") from error
    version = digest(raw)
    mark = Mark(version, epoch=version, revision=0, total=len(parts.lines))
    return Stored(mark, parts.head, parts.last_active, parts.lines, foreign=True)
