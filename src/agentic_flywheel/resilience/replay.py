"""Giving the store what the journal holds for it, when it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from msgspec.structs import replace

from ..codec import merge_heads, missing
from ..commit import commit
from ..errors import Deleted, Fenced, StoreError, Unavailable
from ..stores import Change, Stored
from ..stores.base import new_version
from ..stores.deadline import within
from .guarded_store import GuardedStore
from .journal import Journal
from .journal_file import Deletion, Entry, Records, Work
from .knowledge import LocalKnowledge

log = logging.getLogger("agentic_flywheel.journal")

BATCH = 500
STEP_SECONDS = 5.0  # for one step: nobody waits for it
LOOK_AGAIN_SECONDS = 0.1  # while another process replays


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, and the entries that are done with it."""

    work: Work | None
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many entries were done, how many still wait and why, and how many the store would not take."""

    replayed: int
    waiting: int
    refused: int
    reason: str | None


def steps_of(entries: Iterable[Entry]) -> list[Step]:
    """The steps that a session's entries ask for; appends that follow each other are one step."""
    steps: list[Step] = []
    for entry in entries:
        work = entry.work
        last = steps[-1] if steps else None
        if last and isinstance(last.work, Change) and isinstance(work, Change) and _may_join(last.work, work):
            steps[-1] = Step(joined(last.work, work), [*last.entries, entry])
        else:
            steps.append(Step(work, [entry]))
    return steps


def _may_join(first: Change, second: Change) -> bool:
    return second.history is None and first.fence == second.fence == 0


def joined(first: Change, second: Change) -> Change:
    """Both changes as one; the second one only appends."""
    # One writer goes on from what it wrote last. Where another's turns lie between, both have to see them first.
    follows = second.base is not None and second.base.version == first.version
    before = first.added if first.history is None else first.history
    # One whose save was cancelled does not know that it was accepted, and brings the same turns again.
    added = second.added if follows else missing(second.added, before)
    return replace(
        first,
        # What was made of the first is what its writer goes on from.
        epoch=first.epoch or first.version,
        head=merge_heads(second.base_head, second.head, first.head),
        last_active=second.last_active,
        added=[*first.added, *added],
        history=None if first.history is None else [*first.history, *added],
        ttl=second.ttl,
        records=[*first.records, *second.records],
        version=second.version if follows else new_version(),
    )


class Replayer:
    """Replays the journal, oldest entry first, and knows which sessions have to wait for it.

    Its task runs only while the store is away or something waits. Entries are forgotten after the store has
    them; one that is replayed twice is there once, since the store knows turns by their ids.
    """

    def __init__(self, store: GuardedStore, journal: Journal, knowledge: LocalKnowledge, *, limit: int) -> None:
        self._store = store
        self._journal = journal
        self._knowledge = knowledge
        self._limit = limit
        self._held: dict[str, int] = {}  # session: how often work of it was accepted here
        self._claimed: set[str] = set()  # sessions on which there were claims in the journal at the last look
        self._is_stale = False  # the file has changed since the last look began
        self._look: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why the journal cannot be replayed, if it cannot."""
        self.refusal: Unavailable | None = None
        """Why the store did not take the last write that was tried, if it did not; the journal has it."""

    @property
    def holds_any(self) -> bool:
        """Whether anything is known to wait."""
        return bool(self._held)

    async def holds(self, session_id: str) -> bool:
        """Whether work of a session waits, so that further work has to queue up behind it.

        What other processes accepted is noticed too, by a look at the file when it has changed. A journal that
        cannot be read holds up nobody.
        """
        self._is_stale |= self._journal.changed()
        while self._is_stale or self._is_looking:  # before a look is over, what it finds is not known
            await self._look_for_others()
        return session_id in self._held

    async def may_be_claimed(self, session_id: str) -> bool:
        """Whether a process of this machine may have claimed a session in the journal."""
        await self.holds(session_id)
        return self.is_at_work or session_id in self._claimed or self._journal.is_claimed_here(session_id)

    @property
    def _is_looking(self) -> bool:
        return _is_under_way(self._look)

    async def _look_for_others(self) -> None:
        """Look what waits, one look for all callers; it goes on where one of them is cancelled."""
        if self._look is None or not self._is_looking:
            self._is_stale = False
            self._look = asyncio.create_task(self._try_to_look(), context=Context())
        await asyncio.shield(self._look)

    async def _try_to_look(self) -> None:
        try:
            await self._look_what_waits()
        except StoreError as error:
            self._complain(error)
        except asyncio.CancelledError:  # what is there is not known yet
            self._journal.look_again()
            raise
        if self._held:
            self.start()

    def hold(self, session_id: str) -> None:
        """Note that work of a session was accepted."""
        self._held[session_id] = self.accepted(session_id) + 1
        self.start()

    def accepted(self, session_id: str) -> int:
        """How often work of a session was accepted here since nothing of it waited."""
        return self._held.get(session_id, 0)

    def release(self, session_id: str, accepted: int) -> None:
        """Note that nothing of a session waits, unless more was accepted than so often."""
        if self.accepted(session_id) == accepted:
            self._held.pop(session_id, None)

    def start(self) -> None:
        """See to it that the store is probed and the journal replayed until all is well."""
        if not self.is_at_work:
            # In a context of its own: the deadline of the operation that started it is not ours.
            self._task = asyncio.create_task(self._run(), context=Context())

    @property
    def is_at_work(self) -> bool:
        """Whether the store is probed and the journal replayed now."""
        return _is_under_way(self._task)

    async def stop(self) -> None:
        """Stop; what waits stays in the journal."""
        tasks = [task for task in (self._task, self._look) if task is not None and _is_under_way(task)]
        self._task = self._look = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        while True:
            with suppress(StoreError):  # it is only upkeep
                await self._journal.tidy()
            if not await self._store.probe():
                await asyncio.sleep(min(max(self._store.breaker.until_probe(), 0.01), LOOK_AGAIN_SECONDS))
                continue
            try:
                if await self.replay():
                    return
            except StoreError as error:
                self._complain(error)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _complain(self, error: StoreError) -> None:
        """Say why the journal cannot be used, once."""
        if self.trouble != str(error):
            self.trouble = str(error)
            log.warning("the journal cannot be replayed now: %s", error)

    async def replay_now(self) -> Replayed:
        """Try to replay all that waits, once; what came of it.

        Raises:
            StoreError: the journal itself cannot be read or written.
        """
        if not self._journal.exists:
            return Replayed(0, 0, 0, None)
        before = await self._journal.pending()
        self.refusal = None
        async with self._journal.replaying() as ours:
            reason = None if ours else "another process is replaying it now"
        if ours:
            await self.replay()
        after = await self._journal.pending()
        if after.entries and self.refusal is not None:
            reason = str(self.refusal)
        return Replayed(max(before.entries - after.entries, 0), after.entries, after.refused, reason)

    async def replay(self) -> bool:
        """Replay what waits, if no other process does; whether nothing waits any more.

        Raises:
            StoreError: the journal itself cannot be read or written.
        """
        if not self._journal.exists:
            return True
        async with self._journal.replaying() as ours:
            if not ours:
                self.refusal = None  # whoever replays knows better
            while ours and (entries := await self._journal.oldest(BATCH)):
                if not await self._replay_some(entries):
                    break
        nothing_waits = await self._look_what_waits()
        self.trouble = None
        return nothing_waits

    async def _replay_some(self, entries: list[Entry]) -> bool:
        """Replay entries, each session's in order, the sessions side by side; whether the store took all."""
        by_session: dict[str, list[Entry]] = {}
        for entry in entries:
            by_session.setdefault(entry.session_id, []).append(entry)
        jobs = (self._replay_session(mine) for mine in by_session.values())
        results = await asyncio.gather(*jobs, return_exceptions=True)  # all are over when the lock is given back
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return all(results)

    async def _replay_session(self, entries: list[Entry], *, singly: bool = False) -> bool:
        for step in [Step(entry.work, [entry]) for entry in entries] if singly else steps_of(entries):
            try:
                with within(STEP_SECONDS):
                    await self._do(step.work)
            except Unavailable as error:
                self.refusal = error
                return False
            except Deleted:
                log.info("work for a session that was deleted is dropped")
            except Exception as error:  # whatever is wrong with one entry must not keep the others waiting
                if not await self._set_aside(step.entries, error):
                    return False
                continue
            self.refusal = None
            await self._journal.remove(step.entries)
        return True

    async def _set_aside(self, entries: list[Entry], error: Exception) -> bool:
        """Keep what the store will not take, with the reason; of several entries, only those that it means."""
        if len(entries) > 1:
            return await self._replay_session(entries, singly=True)
        log.error("journal entry %d was refused: %s", entries[0].place, type(error).__name__)
        await self._journal.refuse(entries[0], str(error))
        return True

    async def _do(self, work: Work | None) -> None:
        match work:
            case Change() as change:
                await self._commit(change)
            case Deletion() as deletion:
                await self._store.delete(deletion.session_id, deleted_at=deletion.deleted_at, ttl=deletion.ttl)
            case Records() as records:
                await self._store.put(records.records)
            case None:
                raise ValueError("the entry is damaged")

    async def _commit(self, change: Change) -> None:
        known = await self._knowledge.last_stored(change.session_id)
        try:
            done = await commit(self._store, change, _known_before(change, known), limit=self._limit)
        except Fenced:  # its process was held up, and a later turn took the session over
            log.info("a turn that was taken over from is kept as an execution")
            await self._store.put(change.records)
            return
        stored = Stored(done.mark, done.head, done.last_active, done.lines, done.start)
        self._knowledge.saw(change.session_id, stored, known)

    async def _look_what_waits(self) -> bool:
        before = dict(self._held)
        waiting, self._claimed = await self._journal.in_use()
        for session_id, accepted in before.items():
            if session_id not in waiting:
                self.release(session_id, accepted)
        for session_id in waiting:
            self._held.setdefault(session_id, 1)
        return not waiting


def _is_under_way(task: asyncio.Task[None] | None) -> bool:
    """Whether a task is there, and of the event loop that runs now; one of another loop has ended with it."""
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()


def _known_before(change: Change, known: Stored | None) -> Sequence[bytes]:
    """The lines that are known to stand before what a change adds; none that were rewritten since."""
    base = change.base
    if base is None or known is None or known.mark.epoch != base.epoch:
        return ()
    return known.lines[: max(base.total - known.start, 0)]
