"""A store that is never away: what the store behind it cannot take now waits in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from msgspec.structs import replace

from ..errors import StoreError, Unavailable
from ..stores import Backlog, Change, Claim, Grant, Listed, Mark, Record, Store, Stored
from ..stores.base import Kind
from ..stores.history_entries import newest_of_each
from .claiming import Claiming, Wanted
from .guarded_store import GuardedStore
from .journal import Journal
from .journal_file import Deletion, ReadAhead, Records, Work
from .knowledge import LocalKnowledge, pending_mark
from .local_claims import LocalClaims
from .replay import Replayer


class JournalledStore(Store):
    """Takes writes while the store is away, gives them to it when it is back, and reads locally meanwhile.

    A session that has work in the journal gets its further work there too, until the store has caught up:
    so each writer's turns keep their order. Answers from what is known locally are marked as ``behind``.

    ``limit`` is the greatest size of a session in bytes, for what is replayed. Without ``remembers`` there are no
    local copies, and nothing but what waits can be read while the store is away.
    """

    def __init__(self, inner: GuardedStore, journal: Journal, *, limit: int, remembers: bool = True) -> None:
        self.inner = inner
        self.name, self.where = inner.name, inner.where
        self.journal = journal
        self.knowledge = LocalKnowledge(journal) if remembers else LocalKnowledge(journal, sessions=0)
        self.replayer = Replayer(inner, journal, self.knowledge, limit=limit)
        self.claims = LocalClaims(journal)
        self.claiming = Claiming(inner, self.replayer, self.claims)

    def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Coroutine[Any, Any, Stored | None]:
        return self._read(session_id, last, after, touch=touch)

    async def _read(
        self,
        session_id: str,
        last: int | None,
        after: int | None = None,
        *,
        touch: bool = True,
        ahead: ReadAhead | None = None,
    ) -> Stored | None:
        if await self.replayer.holds(session_id):
            with suppress(StoreError):  # a journal that cannot be read keeps nobody from the store
                recalled = await self.knowledge.recall(session_id, ahead)
                if recalled.waits:
                    return _behind(recalled.stored, last, after)
        try:
            found = await self.inner.read(session_id, last=last, after=after, touch=touch)
        except Unavailable as error:
            return await self._read_here(session_id, last, after, error)
        if found is not None:
            self.knowledge.saw(session_id, found)
        return found

    async def _read_here(
        self, session_id: str, last: int | None, after: int | None, reason: Unavailable
    ) -> Stored | None:
        self.replayer.start()
        with _also(reason):
            recalled = await self.knowledge.recall(session_id)
        if recalled.stored is None and not recalled.waits:
            raise reason
        return _behind(recalled.stored, last, after)

    async def write(self, change: Change, *, limit: int) -> Mark:
        waits = await self.replayer.holds(change.session_id)
        if waits and await self._queue_up(change.session_id, self._to_wait(change), releases=change.releases):
            return pending_mark(change)
        try:
            mark = await self.inner.write(change, limit=limit)
        except Unavailable as error:
            await self._accept(change.session_id, self._to_wait(change), error, releases=change.releases)
            return pending_mark(change)
        self.knowledge.wrote(change, mark)
        if change.releases is not None:
            await self.claiming.released(change.session_id, change.releases)
        return mark

    def _to_wait(self, change: Change) -> Change:
        """A change for the journal, which releases nothing, and is not refused later: it has no fence.

        But for one of a process that stood still, and whose claim ended meanwhile though the store was there.
        """
        fence = change.fence if self.claims.was_held_up(change.session_id) else 0
        return replace(change, fence=fence, releases=None)

    async def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> bool:
        deletion = Deletion(session_id, deleted_at, ttl)
        if await self.replayer.holds(session_id):
            there = (await self.knowledge.recall(session_id)).stored is not None
            if await self._queue_up(session_id, deletion):
                await self.knowledge.forget(session_id)
                return there
        try:
            there = await self.inner.delete(session_id, deleted_at=deleted_at, ttl=ttl)
        except Unavailable as error:
            with _also(error):
                there = (await self.knowledge.recall(session_id)).stored is not None
            await self._accept(session_id, deletion, error)
        with suppress(StoreError):  # it is deleted; here it is only not forgotten
            await self.knowledge.forget(session_id)
        return there

    async def put(self, records: Sequence[Record]) -> bool:
        work = Records(tuple(records))
        session_id = next((record.session_id for record in records if record.session_id), "")
        if await self._queue_up(session_id, work):
            return False
        try:
            return await self.inner.put(records)
        except Unavailable as error:
            await self._accept(session_id, work, error)
            return False

    async def _queue_up(self, session_id: str, work: Work, *, releases: str | None = None) -> bool:
        """Put work behind earlier work of its session, if such waits in the journal; whether it did.

        ``releases`` is the turn that gives up what it has claimed here with that, if any.
        """
        if not await self.replayer.holds(session_id):
            return False
        accepted = self.replayer.accepted(session_id)
        if await self._append(session_id, work, behind=True, releases=releases):
            return True
        self.replayer.release(session_id, accepted)
        return False

    async def _accept(
        self, session_id: str, work: Work, reason: Unavailable, *, releases: str | None = None
    ) -> None:
        """Put work into the journal; for ``releases`` see `_queue_up`.

        Raises:
            Unavailable: that cannot be done either; says why both fail.
            Deleted: the session was deleted meanwhile.
        """
        self.replayer.refusal = reason
        with _also(reason):
            await self._append(session_id, work, releases=releases)

    async def _append(
        self, session_id: str, work: Work, *, behind: bool = False, releases: str | None = None
    ) -> bool:
        await self.knowledge.write_down_before_work(session_id)
        if releases is not None:
            self.claims.ends(session_id, releases)
        try:
            appended = await self.journal.append(session_id, work, behind=behind, releases=releases)
        except asyncio.CancelledError:  # the caller is gone; the work may get in all the same
            self.replayer.hold(session_id)
            raise
        if appended:
            self.replayer.hold(session_id)
            if releases is not None:
                self.claims.given_up(session_id, releases)
        return appended

    async def recent(self, limit: int, owner: str = "") -> list[Listed]:
        try:
            listed = await self.inner.recent(limit, owner)
        except Unavailable as error:
            self.replayer.start()
            with _also(error):
                known = await self.knowledge.recent(limit, owner)
            if not known:  # here, which is not to say that there is none
                raise
            return known
        await self.replayer.holds("")
        if self.replayer.holds_any:
            with suppress(StoreError):
                return await self.knowledge.with_what_waits(listed, limit, owner)
        return listed

    async def count(self, owner: str, enough: int) -> int:
        return await self.inner.count(owner, enough)

    async def execution(self, execution_id: str) -> bytes | None:
        waiting = await self._waiting("execution", execution_id)
        return waiting[-1].data if waiting else await self.inner.execution(execution_id)

    async def share(self, name: str) -> bytes | None:
        waiting = await self._waiting("share", name)
        return (waiting[-1].data or None) if waiting else await self.inner.share(name)

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        waiting = await self._waiting("history", session_id, flow_id)
        try:
            stored = await self.inner.entries(session_id, flow_id)
        except Unavailable:
            if not waiting:
                raise
            stored = []
        return newest_of_each([*stored, *(record.data for record in waiting)])

    async def _waiting(self, *name: str) -> list[Record]:
        """What waits of an execution or a history; looked for before the store is asked, since it may get there."""
        await self.replayer.holds("")
        # A replayer at work does not see what other processes accept meanwhile.
        if not (self.replayer.holds_any or self.replayer.is_at_work) or not self.journal.exists:
            return []
        try:
            return await self.journal.records_of(*name)
        except StoreError:
            return []

    async def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Grant:
        """As every store. While the store is away, the processes of this machine agree among themselves."""
        return await self._claim(Wanted(session_id, turn_id, note, seconds, instead))

    async def _claim(self, wanted: Wanted) -> Grant:
        async def ask() -> tuple[Grant, None]:
            claiming = self.inner.claim(
                wanted.session_id, wanted.turn_id, wanted.note, seconds=wanted.seconds, instead=wanted.instead
            )
            return await claiming, None

        return (await self.claiming.claim(wanted, ask)).grant

    async def claim_and_read(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, last: int | None = None
    ) -> tuple[Grant, Stored | None]:
        if await self.replayer.holds(session_id):  # what waits here is newer than what the store has
            ahead = self.knowledge.to_read_ahead(session_id)
            grant = await self._claim(Wanted(session_id, turn_id, note, seconds, reads=ahead))
            return grant, None if grant.stands else await self._read(session_id, last, ahead=ahead)
        ask = partial(self.inner.claim_and_read, session_id, turn_id, note, seconds=seconds, last=last)
        done = await self.claiming.claim(Wanted(session_id, turn_id, note, seconds), ask)
        if done.unanswered is not None and not done.grant.stands:
            return done.grant, await self._read_here(session_id, last, None, done.unanswered)
        if done.read is not None:
            self.knowledge.saw(session_id, done.read)
        return done.grant, done.read

    async def fence(self, session_id: str, fence: int) -> None:
        await self.inner.fence(session_id, fence)

    async def claimed(self, session_id: str) -> Claim | None:
        return await self.claiming.claimed(session_id)

    async def release(self, session_id: str, turn_id: str) -> None:
        await self.claiming.release(session_id, turn_id)

    async def raw(self, session_id: str) -> bytes | None:
        return await self.inner.raw(session_id)

    async def set_aside(self, session_id: str, raw: bytes) -> str | None:
        return await self.inner.set_aside(session_id, raw)

    async def aside(self, session_id: str) -> dict[str, bytes]:
        return await self.inner.aside(session_id)

    def names(self, kind: Kind) -> AsyncIterator[tuple[str, ...]]:
        return self.inner.names(kind)

    async def reindex(self) -> int:
        return await self.inner.reindex()

    async def erase(self, owner: str) -> int:
        """As every store; here, and first, what waits or is known on this machine."""
        erased = await self.journal.erase(owner) if self.journal.exists else 0
        await self.knowledge.erase(owner)
        return erased + await self.inner.erase(owner)

    async def check(self) -> dict[str, object]:
        facts = await self.inner.check()
        if self.replayer.holds_any and self.replayer.refusal is not None:
            raise self.replayer.refusal  # it answers, and did not take what was written
        return facts

    async def backlog(self) -> Backlog:
        pending = await self.journal.pending() if self.journal.exists else None
        if pending and pending.entries:  # also what another process left behind
            self.replayer.start()
        return Backlog(
            available=self.inner.state == "available",
            since=self.inner.since,
            last_error=self.inner.last_error or self.replayer.trouble or self.journal.trouble,
            pending=pending.entries if pending else 0,
            pending_bytes=pending.bytes if pending else 0,
            oldest=pending.oldest if pending else None,
            refused=pending.refused if pending else 0,
            breaker=self.inner.breaker.state,
        )

    async def close(self) -> None:
        await self.replayer.stop()
        await self.claiming.close()
        await self.knowledge.close()
        await self.journal.close()
        await self.inner.close()


@contextmanager
def _also(reason: Unavailable) -> Iterator[None]:
    """Where the store and the journal both fail, say why both do."""
    try:
        yield
    except Unavailable as error:
        raise Unavailable(f"{reason}; and the journal does not help: {error}") from error


def _behind(stored: Stored | None, last: int | None, after: int | None) -> Stored | None:
    """Of what is known, the turns that are wanted; None where it is known to be deleted."""
    if stored is None:
        return None
    skip = None if after is None else max(after - stored.start, 0)
    cut = stored.cut(last, skip)
    return replace(cut, start=stored.start + cut.start, behind=True)
