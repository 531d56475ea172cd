"""What this machine knows of sessions by itself, to go on while the store is away."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace

from ..codec import merge_heads, missing
from ..errors import Damaged, StoreError
from ..recent import Recent
from ..session.times import seconds
from ..stores import Change, Listed, Mark, Stored
from ..stores.base import new_version
from ..stores.names import parts_of
from ..stores.sqlite_file import SqliteFile
from ..stores.writing import new_lines
from . import known_file as file
from .journal import Journal
from .journal_file import Deletion, Entry, Known, ReadAhead, Waiting

T = TypeVar("T")

log = logging.getLogger("agentic_flywheel.journal")


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known of a session here; ``waits`` says that work waits for it, its deletion if it has no state."""

    stored: Stored | None
    waits: bool


@dataclass(frozen=True, slots=True)
class _Folded:
    """What comes of the state of a session and of the work that waits for it.

    ``count`` entries of the journal are in it, the last of which has this ``place``.
    """

    base: Stored | None
    stored: Stored | None
    count: int = 0
    place: int = 0
    waits: bool = False

    def with_entry(self, entry: Entry) -> _Folded:
        """The same with one more."""
        work, stored, waits = entry.work, self.stored, self.waits
        if isinstance(work, Change):
            stored, waits = after(stored, work), True
        elif isinstance(work, Deletion):
            stored, waits = None, True
        return _Folded(self.base, stored, self.count + 1, entry.place or 0, waits)


class LocalKnowledge:
    """The sessions that were read or written on this machine lately: their heads and last turns.

    What this process saw is in memory at once, and on disk, for the others, a moment later and off the way of
    the callers. To what is known, the work that waits in the journal is added; what came of that is kept, so that a
    session costs the same however much of it waits.

    Args:
        journal: beside whose entries it is kept.
        turns: how many of a session's last turns are kept.
        sessions: how many sessions are kept.
        delay: seconds until what is new is written to disk.
    """

    def __init__(self, journal: Journal, *, turns: int = 50, sessions: int = 1000, delay: float = 1.0) -> None:
        self._journal = journal
        self._file = SqliteFile(journal.path.with_name(f"known-{journal.path.name}"), file.prepare)
        self._turns = turns
        self._sessions = sessions
        self._delay = delay
        self._states: Recent[Stored] = Recent(sessions)
        self._folded: Recent[_Folded] = Recent(sessions)
        self._of_others: Recent[tuple[object, Stored | None]] = Recent(sessions)  # with the file's stamps
        self._kept: tuple[Recent[Any], ...] = (self._states, self._folded, self._of_others)
        self._new: set[str] = set()
        self._writer: asyncio.Task[None] | None = None

    def saw(self, session_id: str, stored: Stored, known: Stored | None = None) -> None:
        """Note a state that the store gave; ``known`` is an earlier one, where another process knows it."""
        mine = self._states.get(session_id)
        if mine is not None and mine.mark.version == stored.mark.version and mine.start <= stored.start:
            self._states.used(session_id)
            return
        known = known or mine
        if len(stored.lines) < self._turns and known is not None and known.mark.epoch == stored.mark.epoch:
            earlier = known.lines[: max(stored.start - known.start, 0)]
            if known.start + len(earlier) == stored.start:
                stored = replace(stored, lines=[*earlier, *stored.lines], start=known.start)
            elif not stored.lines:  # others added turns since, and none of them was read: what is known tells more
                return
        self._note(session_id, stored)

    def wrote(self, change: Change, mark: Mark) -> None:
        """Note a change that the store took."""
        known = self._states.get(change.session_id)
        if change.base is None or change.history is not None:
            lines, start = new_lines(change), 0
        elif known is not None and known.mark.version == change.base.version:
            lines = [*known.lines, *change.added][-self._turns :]
            start = known.start + len(known.lines) + len(change.added) - len(lines)
        else:
            lines, start = change.added, change.base.total
        self._note(change.session_id, Stored(mark, change.head, change.last_active, lines, start))

    async def recall(self, session_id: str, ahead: ReadAhead | None = None) -> Recalled:
        """The session as it is known here, with the work that waits in the journal, which may be read ``ahead``."""
        folded = self._folded.get(session_id)
        # The work first: what is replayed meanwhile is then among what was stored.
        if ahead is not None and ahead.waiting is not None and ahead.known == _known(folded):
            all_wait, entries = ahead.waiting
        else:
            all_wait, entries = await self._work_of(session_id, folded)
        base = await self.last_stored(session_id)
        if folded is None or not all_wait or _extent(folded.base) != _extent(base):
            if folded is not None and all_wait:
                _, entries = await self._work_of(session_id)
                base = await self.last_stored(session_id)
            folded = _Folded(base, base)
        for entry in entries:
            folded = folded.with_entry(entry)
        self._folded.put(session_id, folded)
        return Recalled(folded.stored, folded.waits)

    def to_read_ahead(self, session_id: str) -> ReadAhead:
        """What is to be read ahead for the next recall of a session."""
        return ReadAhead(_known(self._folded.get(session_id)))

    async def _work_of(self, session_id: str, folded: _Folded | None = None) -> Waiting:
        known = _known(folded)
        if not self._journal.exists:
            return known == (0, 0), []
        return await self._journal.work_of(session_id, known)

    async def last_stored(self, session_id: str) -> Stored | None:
        """The last state of a session that the store is known to have had."""
        mine, stamps = self._states.get(session_id), self._file.stamps()
        if stamps[0] is None:
            return mine
        known = self._of_others.get(session_id)
        if known is None or known[0] != stamps:
            known = stamps, await self._ask(lambda db: file.get(db, session_id))
            self._of_others.put(session_id, known)
        return max((state for state in (mine, known[1]) if state is not None), key=_age, default=None)

    async def recent(self, limit: int, owner: str) -> list[Listed]:
        """The sessions of an owner that are known here, last used first."""
        await self.write_down()
        states = await self._ask(lambda db: file.recent(db, limit, owner))
        listed = [_listed(name, stored) for name, stored in states.items()]
        return await self.with_what_waits(listed, limit, owner)

    async def with_what_waits(self, listed: Sequence[Listed], limit: int, owner: str) -> list[Listed]:
        """A listing of what an owner has, with the work that waits in the journal."""
        found = {item.session_id: item for item in listed}
        waiting = [name for name in await self._journal.newest() if name and parts_of(name)[0] == owner]
        for session_id in {*waiting[:limit], *(found.keys() & waiting)}:
            recalled = await self.recall(session_id)
            if recalled.stored is not None:
                found[session_id] = _listed(session_id, recalled.stored)
            elif recalled.waits:
                found.pop(session_id, None)
        return sorted(found.values(), key=lambda item: seconds(item.last_active), reverse=True)[:limit]

    async def forget(self, session_id: str) -> None:
        """Know nothing of a session any more."""
        for kept in self._kept:
            kept.drop(session_id)
        self._new.discard(session_id)
        if self._file.may_be_there:
            await self._ask(lambda db: file.forget(db, session_id))

    async def erase(self, owner: str) -> None:
        """Know nothing of what an owner has any more."""
        for kept in self._kept:
            for name in kept.names():
                if parts_of(name)[0] == owner:
                    kept.drop(name)
        self._new = {name for name in self._new if parts_of(name)[0] != owner}
        moment = time.time()
        await self._ask(lambda db: file.erase(db, owner, moment))

    async def write_down_before_work(self, session_id: str) -> None:
        """Bring a session to disk, if it is new, since work on top of it is about to wait there.

        Should this process die, the others find both.
        """
        if session_id in self._new:
            await self._try_to_write_down()

    async def write_down(self) -> None:
        """Bring what is new to disk."""
        states = {name: stored for name in self._new if (stored := self._states.get(name)) is not None}
        self._new.clear()
        if states:
            await self._ask(lambda db: file.put(db, states, self._sessions))

    async def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What work on the file gives. A damaged file is begun anew: all that is in it is in the store, too."""
        try:
            return await self._file.call(work)
        except Damaged:
            for path in self._file.path.parent.glob(f"{self._file.path.name}*"):
                path.unlink(missing_ok=True)
            return await self._file.call(work)

    async def close(self) -> None:
        """Bring what is new to disk, and stop."""
        if self._writer is not None:
            self._writer.cancel()
            self._writer = None
        await self._try_to_write_down()
        await self._file.close()

    def _note(self, session_id: str, stored: Stored) -> None:
        dropped = max(len(stored.lines) - self._turns, 0)
        if dropped or not isinstance(stored.lines, list):
            stored = replace(stored, lines=list(stored.lines[dropped:]), start=stored.start + dropped)
        self._states.put(session_id, stored)
        self._new.add(session_id)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_later(), context=Context())

    async def _write_later(self) -> None:
        await asyncio.sleep(self._delay)
        await self._try_to_write_down()

    async def _try_to_write_down(self) -> None:
        try:
            await self.write_down()
        except StoreError as error:  # it costs only what could be read during an outage
            log.warning("local copies are not written: %s", error)


def _known(folded: _Folded | None) -> Known:
    return (folded.count, folded.place) if folded is not None else (0, 0)


def _extent(stored: Stored | None) -> tuple[str, int] | None:
    return (stored.mark.version, stored.start) if stored is not None else None


def _age(stored: Stored) -> tuple[float, int]:
    return seconds(stored.last_active), stored.mark.revision


def _listed(session_id: str, stored: Stored) -> Listed:
    return Listed(session_id, stored.head, stored.last_active, stored.mark.total)


def pending_mark(change: Change) -> Mark:
    """The state that a change will make once the store has it, if nobody else writes meanwhile."""
    revision = change.base.revision + 1 if change.base else 1
    if change.base is None or change.history is not None:
        lines = change.added if change.history is None else change.history
        return Mark(change.version, change.epoch or change.version, revision, len(lines), pending=True)
    total = change.base.total + len(change.added)
    return Mark(change.version, change.base.epoch, revision, total, pending=True)


def after(known: Stored | None, change: Change) -> Stored:
    """What is known of a session after a change."""
    mark = pending_mark(change)
    if change.history is not None or change.base is None:
        lines = list(change.added if change.history is None else change.history)
        start = 0
    elif known is None:
        lines, start = list(change.added), change.base.total
    else:
        if known.mark.version == change.base.version:
            added: Sequence[bytes] = change.added
        else:  # it may be ahead of the change: then further changes do not follow what comes of the two, either
            added, mark = missing(change.added, known.lines), replace(mark, version=new_version())
        lines, start = [*known.lines, *added], known.start
    head = merge_heads(change.base_head, change.head, known.head) if known else change.head
    return Stored(replace(mark, total=start + len(lines)), head, change.last_active, lines, start)
