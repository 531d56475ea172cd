"""Which turn is being run in a session: one at a time, noted before it starts."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from ..codec import decode_note, encode_note
from ..errors import Damaged, Sealed, StoreError
from ..session import InFlight
from ..stores import Claim, Grant, Store, Stored
from .forms import Forms
from .keeping import Keeper, Kept

log = logging.getLogger(__name__)

CLAIM_SECONDS = 6.0  # a claim that is not renewed ends: its process is dead, or cut off


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A turn that was begun and has no answer.

    Attributes:
        turn: what was asked.
        after: how long it ran, in seconds.
        how: why it has none: its process died ("interrupted"), its caller gave it up ("cancelled"), or no answer
            arrived, and its flow may have run all the same ("unknown").
    """

    turn: InFlight
    after: float
    how: Literal["interrupted", "cancelled", "unknown"] = "interrupted"

    def __str__(self) -> str:
        ran = f"after {self.after:.0f} s in flow {self.turn.flow_id}"
        what = f"had no answer {ran}, which may have run all the same" if self.how == "unknown" else None
        return f"your last question {self.turn.question!r} {what or f'was {self.how} {ran}'}; not answered"


@dataclass(frozen=True, slots=True)
class Found:
    """What stood in the way of a claim: a turn that is still ``running``, or one that was interrupted."""

    turn: InFlight
    running: bool
    until: float

    @property
    def interrupted(self) -> Interrupted | None:
        """The same as an interrupted turn, if it is one."""
        return None if self.running else Interrupted(self.turn, self.turn.lasted(self.until - CLAIM_SECONDS))


class TurnsInFlight:
    """Claims sessions for turns. While the store is away, only the processes of this machine agree."""

    def __init__(self, store: Store, forms: Forms) -> None:
        self._store = store
        self._forms = forms
        self._held: dict[str, tuple[str, int]] = {}  # by turn id: holder and fence
        self._keeper = Keeper(self._renew, self.release)

    async def claim(self, session_id: str, turn: InFlight) -> Found | None:
        """Note a turn as running, if the session is free; else what stands in the way.

        An interrupted turn gives way, and is given too: its caller has to put it on record. Should its process
        live all the same, what it writes from now on is refused.
        """
        return await self._settle(session_id, turn, await self._claim(session_id, turn))

    async def claim_and_read(
        self, session_id: str, turn: InFlight, *, last: int | None
    ) -> tuple[Found | None, Stored | None]:
        """As `claim`; and if the claim is granted, what is stored, no older than the claim."""
        note = encode_note(turn, await self._forms.to_write(session_id))
        grant, stored = await self._store.claim_and_read(
            session_id, turn.holder, note, seconds=CLAIM_SECONDS, last=last
        )
        found = await self._settle(session_id, turn, grant)
        if found is None:
            return None, stored
        # What was read may be older than the claim, if that was granted only now.
        return found, None if found.running else await self._store.read(session_id, last=last)

    async def _settle(self, session_id: str, turn: InFlight, grant: Grant) -> Found | None:
        """What stands in the way of a claim after all that could be done about it."""
        found = await self._found(session_id, grant.found) if grant.found else None
        if grant.found and grant.stands and found is not None and not found.running:
            # Its claim has not ended, and its process is known to be dead.
            grant = await self._claim(session_id, turn, instead=grant.found.turn_id)
            found = await self._found(session_id, grant.found) if grant.found else None
        if grant.stands:
            return found or Found(turn, running=True, until=0.0)
        self._held[turn.turn_id] = turn.holder, grant.fence
        if grant.found and grant.fence:
            with suppress(StoreError):
                await self._store.fence(session_id, grant.fence)
        return found

    async def _claim(self, session_id: str, turn: InFlight, instead: str | None = None) -> Grant:
        note = encode_note(turn, await self._forms.to_write(session_id))
        return await self._store.claim(session_id, turn.holder, note, seconds=CLAIM_SECONDS, instead=instead)

    def asks_the_same(self, noted: InFlight, turn: InFlight) -> bool:
        """Whether a turn is the one that a claim's note tells of, asked again: the note is masked."""
        form = self._forms.open
        same = encode_note(replace(noted, question=turn.question), form) == encode_note(noted, form)
        return same and noted.flow_id == turn.flow_id

    def fence_of(self, turn_id: object) -> int:
        """The fence of the claim under which a turn is run here; 0 if there is none."""
        return self._held.get(turn_id, ("", 0))[1] if isinstance(turn_id, str) else 0

    def disown(self, turn_id: str) -> None:
        """Have a turn that was begun here be written under no claim: another turn's owner puts it on record."""
        self._held.pop(turn_id, None)

    async def still_has(self, session_id: str, turn_id: object) -> bool:
        """Whether the claim under which a turn is run here is the one that the session has now."""
        claim, fence = await self._store.claimed(session_id), self.fence_of(turn_id)
        return claim is not None and not claim.ended and claim.fence == fence > 0

    def kept(self, session_id: str, turn: InFlight) -> Kept:
        """Keeps a claim for as long as a block runs, then releases it."""
        return Kept(self._keeper, session_id, turn)

    async def _renew(self, session_id: str, turn: InFlight) -> None:
        try:
            await self._claim(session_id, turn)
        except StoreError as error:
            log.warning("the claim of turn %s was not renewed: %s", turn.turn_id, type(error).__name__)

    async def ending(self, turn: InFlight) -> str | None:
        """Renew the claim of a turn no more; what a write has to release to give it up. None if it is not kept."""
        kept = self._keeper.of(turn)
        if kept is None:
            return None
        await kept.stop()
        return turn.holder

    def ended(self, turn: InFlight) -> None:
        """Note that the claim of a turn was given up by a write."""
        self._forget(turn)
        if (kept := self._keeper.of(turn)) is not None:
            kept.is_over = True

    def _forget(self, turn: InFlight) -> None:
        if self._held.get(turn.turn_id, ("", 0))[0] == turn.holder:
            del self._held[turn.turn_id]

    async def release(self, session_id: str, turn: InFlight) -> None:
        """Give up the claim of a turn, if it has one."""
        self._forget(turn)
        try:
            await self._store.release(session_id, turn.holder)
        except StoreError as error:
            log.warning("the claim of turn %s ends by itself: %s", turn.turn_id, type(error).__name__)

    async def look(self, session_id: str) -> Found | None:
        """The turn that is noted as running in a session, or was interrupted; None if there is none."""
        found = await self._store.claimed(session_id)
        return await self._found(session_id, found) if found else None

    async def _found(self, session_id: str, claim: Claim) -> Found | None:
        try:
            turn = decode_note(claim.note, await self._forms.to_read(session_id, "note", claim.note))
        except (Damaged, Sealed):  # or its key was erased, with the session that it was in
            return None
        return Found(turn, running=not claim.ended and not turn.is_orphaned, until=claim.until)
