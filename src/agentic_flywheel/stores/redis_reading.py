"""Reading a session document: whole, or its head and newest turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ReadOnly
from . import redis_layout as layout
from . import redis_scripts as scripts
from .base import Stored
from .redis_client import raise_translated
from .redis_heads import FIRST_LOOK, HeadSizes
from .redis_keys import Keys
from .redis_lane import Command
from .redis_lifetimes import Lifetimes
from .redis_lines import split_lines
from .redis_pieces import FIRST_PIECE, PIECE, TIMES, read_newest, read_rest, read_watched
from .redis_pipe import Carrier

ANSWERS = 3  # at least, of a look at the beginning and the end of a session
SPARE = 1024  # bytes that are read of a session's end beyond what its turns are thought to take


class SessionReader:
    """Reads sessions by plain range reads where that can be: a script takes the server several times as long.

    ``lifetimes`` knows of which sessions the time to live began again just now, ``heads`` how long their heads are.
    """

    def __init__(self, pipe: Carrier, keys: Keys, lifetimes: Lifetimes, heads: HeadSizes) -> None:
        self._pipe = pipe
        self._keys = keys
        self._lifetimes = lifetimes
        self._heads = heads
        self._turn_size = 2048.0  # bytes; what turns took lately

    async def read(self, session_id: str, last: int | None, after: int | None, *, touch: bool) -> Stored | None:
        """As `Store.read`."""
        touch = touch and self._lifetimes.is_due(session_id)
        try:
            if last is None and after is None:
                return await self._read_whole(session_id, touch=touch)
            return await self._read_end(session_id, last, after, touch=touch)
        except ReadOnly:  # to start its time again is a write; what is stored can be read all the same
            if not touch:
                raise
            return await self.read(session_id, last, after, touch=False)

    async def _read_whole(self, session_id: str, *, touch: bool) -> Stored | None:
        key = self._keys.session(session_id)
        raw, *touched = await self._pipe.all([("GETRANGE", key, 0, PIECE - 1), *self._touching(key, touch=touch)])
        if not raw and not await self._is_there(key, touched):
            return None
        if len(raw) == PIECE:  # a shorter one is whole, however much others have appended since it was read
            raw = await self._read_pieces(key, raw)
        self._note(session_id, raw or b"", touched)
        return layout.parse(raw) if raw is not None else None

    async def _read_pieces(self, key: str, first: bytes) -> bytes | None:
        """A whole document whose first piece was read; at one go if it is written anew again and again."""
        for _ in range(TIMES):
            if layout.Front.of(first) is None:
                raw = await read_watched(self._pipe, key)
            else:
                raw = await read_rest(self._pipe, key, first, await self._pipe.one("STRLEN", key))
            if raw is not None:
                return raw
            first = await self._pipe.one("GETRANGE", key, 0, PIECE - 1)
        whole: bytes | None = await self._pipe.one("GET", key)
        return whole

    async def read_behind(self, first: Command, session_id: str, last: int) -> tuple[Any, Stored | None]:
        """The answer to a command, and the session with its newest turns as it is once that was carried out."""
        look = self._look_at_end(session_id, last, touch=self._lifetimes.is_due(session_id))
        answer, *seen = [raise_translated(each) for each in await self._pipe.steps([first], look)]
        stored = self._seen_at_end(session_id, last, seen)
        if stored is None:
            stored = await self._read_exactly(session_id, last, None, touch=True)
        return answer, stored

    async def _read_end(
        self, session_id: str, last: int | None, after: int | None, *, touch: bool
    ) -> Stored | None:
        if last is not None and after is None:
            look = self._look_at_end(session_id, last, touch=touch)
            stored = self._seen_at_end(session_id, last, await self._pipe.all(look))
            if stored is not None:
                return stored
        return await self._read_exactly(session_id, last, after, touch=touch)

    async def _read_exactly(
        self, session_id: str, last: int | None, after: int | None, *, touch: bool
    ) -> Stored | None:
        """The session with its newest turns, however long it all is; the whole if it is none of ours."""
        key = self._keys.session(session_id)
        for _ in range(TIMES):
            head: Command = ("GETRANGE", key, 0, self._heads.of(session_id) - 1)
            look = [head, ("STRLEN", key), ("GETRANGE", key, -FIRST_PIECE, -1), _front(key)]
            start, size, end, now, *touched = await self._pipe.all([*look, *self._touching(key, touch=touch)])
            if not start and not await self._is_there(key, touched):
                return None
            front = layout.Front.of(start)
            if front is None or not end.endswith(layout.END):
                break
            self._note(session_id, start, touched)
            self._heads.note(session_id, front.used)
            if front.used > len(start) or not start.startswith(now):
                continue
            try:
                lines = await read_newest(self._pipe, key, front, size, end, _wanted(front, last, after))
            except LookupError:
                break
            if lines is not None:
                return front.stored(start, split_lines(lines, gap=front.has_gap))
        stored = await self._read_whole(session_id, touch=touch)  # only all of it tells whether it is damaged
        return stored.cut(last, after) if stored is not None else None

    def _look_at_end(self, session_id: str, last: int, *, touch: bool) -> list[Command]:
        """What reads the head of a session, and as many bytes at its end as its newest turns took lately."""
        key = self._keys.session(session_id)
        start: Command = ("GETRANGE", key, 0, self._heads.of(session_id) - 1)
        if self._heads.hold_all(session_id):
            return [start, *self._touching(key, touch=touch)]
        size = int(last * self._turn_size * 1.25) + SPARE
        end: Command = ("GETRANGE", key, -size, -1)
        return [start, end, _front(key), *self._touching(key, touch=touch)]

    def _seen_at_end(self, session_id: str, last: int, answers: Sequence[Any]) -> Stored | None:
        """The session with its newest turns, as `_look_at_end` saw it; None if that was not enough to tell."""
        if len(answers) < ANSWERS:
            return self._seen_at_once(session_id, last, *answers)
        head, tail, front, *touched = answers
        stored = layout.parse_end(head, tail, last, front)
        if stored is None:
            self._heads.note(session_id, layout.head_end(head) or 0)
            return None
        if len(head) < FIRST_LOOK:
            self._heads.note_all(session_id)
        self._note(session_id, head, touched)
        if stored.lines:
            self._turn_size += (sum(map(len, stored.lines)) / len(stored.lines) - self._turn_size) / 4
        return stored

    def _seen_at_once(self, session_id: str, last: int, raw: bytes, *touched: Any) -> Stored | None:
        """The same of a session that a first look saw all of; None if it has grown, or is none of ours now."""
        stored = layout.parse_end(raw, raw, last, raw) if len(raw) < FIRST_LOOK else None
        if stored is None:
            self._heads.note(session_id, 0)
        else:
            self._note(session_id, raw, touched)
        return stored

    def _touching(self, key: str, *, touch: bool) -> list[Command]:
        return [scripts.TOUCH.on(key, 1)] if touch else []

    def _note(self, session_id: str, start: bytes, touched: Sequence[Any]) -> None:
        ttl = layout.ttl_of(start) if touched else None
        if ttl is not None:
            self._lifetimes.began(session_id, ttl)

    async def _is_there(self, key: str, touched: list[Any]) -> bool:
        """Whether there is one though no byte of it was read; a replica, which may lag behind, does not say."""
        size, _ = touched[0] if touched else await self._pipe.one(*scripts.TOUCH.on(key, 0))
        return bool(size >= 0)


def _front(key: str) -> Command:
    """What tells whether others have written between two commands before it."""
    return ("GETRANGE", key, 0, layout.FRONT_SIZE - 1)


def _wanted(front: layout.Front, last: int | None, after: int | None) -> int:
    """How many of the newest turns were asked for."""
    total = front.mark.total
    return min(total, total if last is None else last, total if after is None else max(total - after, 0))
