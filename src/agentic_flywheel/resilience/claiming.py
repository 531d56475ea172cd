"""Claiming sessions in the store, and on this machine where the store does not say who is next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from ..errors import Unavailable
from ..stores import Claim, Grant, Stored
from .guarded_store import GuardedStore
from .journal_file import ReadAhead
from .late_releases import LateReleases
from .local_claims import LocalClaims
from .replay import Replayer

Ask = Callable[[], Awaitable[tuple[Grant, Stored | None]]]
"""Claims a session in the store, and reads it there if it is to be read."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A claim that somebody wants; for its parts see `Store.claim`, for what it ``reads`` here `Journal.claim`."""

    session_id: str
    turn_id: str
    note: bytes
    seconds: float
    instead: str | None = None
    reads: ReadAhead | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of it, what was read with it, and why the store did not answer, if it did not."""

    grant: Grant
    read: Stored | None = None
    unanswered: Unavailable | None = None


class Claiming:
    """Agrees with the store, and with the processes of this machine, on who has a session.

    The store alone says it while it answers; for who is asked besides see `LocalClaims`.
    """

    def __init__(self, store: GuardedStore, replayer: Replayer, here: LocalClaims) -> None:
        self._store = store
        self._replayer = replayer
        self._here = here
        self._late_releases = LateReleases(store)

    async def claim(self, wanted: Wanted, ask: Ask) -> Claimed:
        """Claim a session; ``ask`` does it in the store."""
        renews = self._here.has(wanted.session_id, wanted.turn_id)
        asks_here = renews or wanted.instead is not None or await self._is_decided_here(wanted.session_id)
        here = await self._claim_here(wanted) if asks_here else None
        if here is not None and here.stands and not renews:
            return Claimed(here)
        asked = self._store.breaker.admits
        try:
            there, read = await ask()
        except Unavailable as error:
            return Claimed(await self._alone(wanted, here, asked=asked, renews=renews), unanswered=error)
        if here is None and not there.stands:
            here = await self._claimed_meanwhile(wanted)
            if here is not None and here.stands:
                return Claimed(here)
        return Claimed(await self._agreed(wanted, here, there, renews=renews), read)

    async def _claim_here(self, wanted: Wanted) -> Grant:
        return await self._here.claim(
            wanted.session_id,
            wanted.turn_id,
            wanted.note,
            seconds=wanted.seconds,
            instead=wanted.instead,
            reads=wanted.reads,
        )

    async def _is_decided_here(self, session_id: str) -> bool:
        """Whether the processes of this machine are asked before the store who may have a session."""
        return self._here.decide or await self._replayer.may_be_claimed(session_id)

    async def _claimed_meanwhile(self, wanted: Wanted) -> Grant | None:
        """What comes here of a claim that the store granted, if others may have claimed it meanwhile."""
        if not await self._replayer.may_be_claimed(wanted.session_id):
            return None
        here = await self._claim_here(wanted)
        if here.stands:
            try:
                await self._store.release(wanted.session_id, wanted.turn_id)
            except Unavailable:
                self._late_releases.expect(wanted.session_id, wanted.turn_id)
        return here

    async def _alone(self, wanted: Wanted, here: Grant | None, *, asked: bool, renews: bool) -> Grant:
        """What comes of a claim that the store did not answer."""
        self._replayer.start()
        if asked:
            self._late_releases.expect(wanted.session_id, wanted.turn_id)
        if renews:
            self._here.was_not_renewed(wanted.session_id, wanted.turn_id)
        waited = not renews and await self._here.agree(wanted.session_id, wanted.turn_id)
        return await self._claim_here(wanted) if waited or here is None else here

    async def _agreed(self, wanted: Wanted, here: Grant | None, there: Grant, *, renews: bool) -> Grant:
        """What comes of a claim that the store answered.

        A turn that is being run keeps its session here, though another's claim stands in the store: that may have
        been granted when nobody heard of it, to one that waits here for the turn's end.
        """
        self._here.store_answers()
        if there.stands and not renews:
            await self._here.release(wanted.session_id, wanted.turn_id)
        elif not there.stands:
            self._here.granted(wanted.session_id, wanted.turn_id, wanted.note, seconds=wanted.seconds)
        return Grant(there.fence, there.found or (here.found if here is not None else None))

    async def claimed(self, session_id: str) -> Claim | None:
        """The claim on a session; see `Store.claimed`."""
        here, there = await self._here.claimed(session_id), None
        with suppress(Unavailable):
            there = await self._store.claimed(session_id)
        if there is not None and not there.ended:  # it may be the same, and has its fence from the store
            return there
        found = [claim for claim in (here, there) if claim is not None]
        return max(found, key=lambda claim: (not claim.ended, claim.until), default=None)

    async def release(self, session_id: str, turn_id: str) -> None:
        """Give up the claim of a turn; in the store later, where that is away now."""
        try:
            await self._store.release(session_id, turn_id)
        except Unavailable:
            if self._here.is_granted(session_id, turn_id) or self._late_releases.expects(session_id, turn_id):
                self._late_releases.add(session_id, turn_id)
        await self.released(session_id, turn_id)

    async def released(self, session_id: str, turn_id: str) -> None:
        """Give up the claim of a turn here; in the store it was given up."""
        self._late_releases.forget(session_id, turn_id)
        await self._here.release(session_id, turn_id)

    async def close(self) -> None:
        """Stop what goes on beside the callers."""
        await self._late_releases.close()
        await self._here.close()
