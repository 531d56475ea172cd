"""Writing what changed in sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import structs

from ..commit import Committed, commit
from ..config import Limits, TimesToLive
from ..errors import Conflict, Fenced, TooLarge, Unavailable
from ..session import Execution, InFlight, UniversalSession, check_session_id
from ..stores import Change, Store
from .changes import Draft, Origin, OwnHeads, adopt, draft_of, reseal, rewrites
from .executions import Executions
from .forms import Forms
from .owners import refuse_reader, sign
from .turns import TurnsInFlight


class Saver:
    """Writes what changed in sessions, with the executions of their turns, and brings them up to date.

    ``large`` has the sizes of the sessions that it wrote and that are near the limit, in bytes.
    """

    def __init__(
        self,
        own: Store,
        forms: Forms,
        turns: TurnsInFlight,
        executions: Executions,
        limits: Limits,
        heads: OwnHeads,
    ) -> None:
        self._own = own
        self._forms = forms
        self._turns = turns
        self._executions = executions
        self._limits = limits
        self._heads = heads
        self.large: dict[str, int] = {}

    async def save(
        self,
        session: UniversalSession,
        origin: Origin,
        given: Iterable[Execution],
        ttl: TimesToLive,
        under: InFlight | None,
        *,
        ends: bool,
    ) -> Committed:
        """Write what changed in a session since it was what ``origin`` says.

        Args:
            session: the session.
            origin: what it was; its lock is held.
            given: fuller executions of turns.
            ttl: how long it, its executions and histories are kept.
            under: the turn under whose claim it is written.
            ends: whether that turn ends with it.

        Raises:
            BadInput: it cannot be stored as it is, is too large, or is only to be read; says what to do.
            StoreError: it was not written; why is told by its kind.
        """
        refuse_reader(session)
        if origin.mark is None:
            check_session_id(session.id)
            sign(session)
        write = partial(self._save, session, origin, list(given), ttl, under, ends=ends)
        try:
            return await write(behind_others=self._forms.vault is not None)
        except Conflict:  # it is gone, or was deleted and begun again: its keys may be others by now
            reseal(session, origin, await self._forms.to_write(session.id, anew=True))
            return await write(behind_others=False)

    async def _save(
        self,
        session: UniversalSession,
        origin: Origin,
        given: Sequence[Execution],
        ttl: TimesToLive,
        under: InFlight | None,
        *,
        ends: bool,
        behind_others: bool,
    ) -> Committed:
        draft = await self._draft(session, origin, ttl.session)
        self._check_sizes(draft.written)
        records = await self._executions.of_turns(session, draft.fresh, given, ttl)
        releases = await self._turns.ending(under) if under and ends else None
        change = draft.change
        if records or releases:
            change = structs.replace(change, records=records, releases=releases)
        done = await self._commit(change, draft, under, behind_others=behind_others)
        if under and releases and not done.mark.pending:
            self._turns.ended(under)
        adopt(session, origin, draft, done)
        self._watch_size(session.id, done.mark.size)
        return done

    async def _draft(self, session: UniversalSession, origin: Origin, ttl: int) -> Draft:
        older: Sequence[bytes] = ()
        if session.history.older and rewrites(session, origin) and session.history is origin.history:
            older = await self._older(session)
        kept = ttl if session.ttl_seconds is None else session.ttl_seconds
        form = await self._forms.to_write(session.id, anew=origin.mark is None)
        draft = draft_of(session, origin, older, ttl=kept, form=form)
        if draft.change.head is not origin.head:
            self._heads.made(session.id, draft.change.head, form)
        return draft

    async def _older(self, session: UniversalSession) -> Sequence[bytes]:
        stored = await self._own.read(session.id, touch=False)
        if stored is not None and stored.start:
            raise Unavailable(
                "earlier turns were changed, and not all of them can be read now; save it again later"
            )
        return stored.lines[: session.history.older] if stored else ()

    def _check_sizes(self, lines: Iterable[bytes]) -> None:
        limit = self._limits.turn_bytes
        for line in lines:
            if len(line) > limit:
                raise TooLarge(
                    f"a turn has {len(line):,} bytes; the limit is {limit:,}. Keep the large part elsewhere and "
                    "put a reference into the turn, or raise limits.turn_bytes"
                )

    async def _commit(
        self, change: Change, draft: Draft, under: InFlight | None, *, behind_others: bool
    ) -> Committed:
        """Write a change, under the claim of a turn: the one that is named, or that it brings."""
        turn_ids = [under.turn_id] if under else [turn.id for turn in draft.fresh]
        turn_id = next((turn_id for turn_id in turn_ids if self._turns.fence_of(turn_id)), None)
        limit = self._limits.session_bytes
        write = partial(commit, self._own, known=draft.known, limit=limit, behind_others=behind_others)
        if turn_id is None:
            return await write(change)
        fenced = structs.replace(change, fence=self._turns.fence_of(turn_id))
        try:
            return await write(fenced)
        except Fenced:  # or the store's clock went back, in a failover
            if not await self._turns.still_has(change.session_id, turn_id):
                raise
            return await write(change)

    def _watch_size(self, session_id: str, size: int) -> None:
        if size >= self._limits.warn_bytes:
            self.large[session_id] = size
        else:
            self.large.pop(session_id, None)
