"""The session manager: what users of the package call."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, Self

from msgspec import structs

from ..codec import Summary, summarize
from ..config import Limits, TimesToLive
from ..errors import BadInput, Damaged, Newer, StoreError, Unavailable
from ..secrecy import Mask
from ..session import Execution, History, InFlight, UniversalSession, check_session_id, new_id, now
from ..stores import Store, Stored
from ..stores.deadline import within
from ..stores.owned import OwnedStore
from ..tracing import span, traced
from .changes import OwnHeads, origin_of, stand_in
from .executions import Executions
from .forms import Forms
from .health import health_of
from .loading import Loader, left_alone
from .meter import Meter
from .owners import refuse_reader
from .results import Health, Loaded, Saved
from .saving import Saver
from .turns import Found, TurnsInFlight
from .vault import Vault

log = logging.getLogger(__name__)

OPEN_SECONDS = 1.0
TOMBSTONE_SECONDS = 30 * 24 * 3600


class SessionManager:
    """Loads and saves sessions, executions and flow histories in one store.

    A save never raises because storage is in trouble, nor because of what the session holds: it says what
    happened. Closing closes the store; ``async with`` does it by itself.

    Its calls are made for the principal that `agentic_flywheel.stores.owned.acting_as` names, and concern what that
    has: ``own`` is the store as the principal sees it.

    ``budget`` is how long a call may take over all its rounds, in seconds, where the store is one that can be
    away (see `agentic_flywheel.resilience`). ``mask`` is what is not stored of what sessions hold: what looks like
    a credential, if it is not given. The session in hand keeps it. With a ``vault`` all that is stored is encrypted
    with keys of the session's own.
    """

    def __init__(
        self,
        store: Store,
        *,
        ttl: TimesToLive | None = None,
        limits: Limits | None = None,
        budget: float = 0.1,
        enabled: bool = True,
        mask: Mask | None = None,
        vault: Vault | None = None,
    ) -> None:
        self.store = store
        self.ttl = ttl or TimesToLive()
        self.limits = limits or Limits()
        self.budget = budget
        self.enabled = enabled
        self.meter = Meter()
        self.own = OwnedStore(store, most=self.limits.sessions)
        self.mask = Mask() if mask is None else mask
        self.forms = Forms(self.mask, vault)
        self.turns = TurnsInFlight(self.own, self.forms)
        self._executions = Executions(self.own, self.forms)
        heads = OwnHeads()
        self._saver = Saver(self.own, self.forms, self.turns, self._executions, self.limits, heads)
        self._loader = Loader(store, self.forms, heads)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect now, so that the first call need not do it within its budget. A store may be away."""
        with within(OPEN_SECONDS), suppress(StoreError):
            await self.store.check()

    async def close(self) -> None:
        """Close files and connections; the manager may be used again, it opens them on first use."""
        await self.store.close()
        if self.forms.vault is not None:
            await self.forms.vault.rings.close()

    @traced("save", "outcome")
    async def save_session(
        self,
        session: UniversalSession,
        *,
        executions: Iterable[Execution] = (),
        ttl: TimesToLive | None = None,
        under: InFlight | None = None,
        ends: bool = False,
    ) -> Saved:
        """Store what changed in a session since it was loaded or last saved.

        Others may have written it meanwhile: their turns and ours are both kept, and the session is brought
        up to date with what is stored. New turns with a ``flow_id`` are stored as executions and in the
        history of their flow too; ``executions`` may have a fuller one under the turn's id. ``ttl`` says how
        long executions and their histories are kept, if not as usual. ``under`` is the turn under whose claim it
        is written (see `claim_and_load`): it is refused if a later one took over. If the turn ``ends`` with it, its
        claim is given up in the same step, once the store itself has taken it.
        """
        start = time.perf_counter()
        kept = self.ttl if ttl is None else structs.replace(ttl, session=self.ttl.session)
        origin = origin_of(session, self.store)
        try:
            async with origin.saving:
                with within(self.budget):
                    done = await self._saver.save(session, origin, executions, kept, under, ends=ends)
        except (BadInput, StoreError) as error:
            log.warning("session %s was not saved: %s", session.id, type(error).__name__)
            return self._refused(left_alone(session.id, error))
        finally:
            self.meter.took("save", start)
        reason = f"what was stored was damaged; it is kept as {done.aside}" if done.aside else None
        return self._saved(pending=done.mark.pending, revision=done.mark.revision, reason=reason)

    def _saved(self, *, pending: bool, revision: int | None = None, reason: str | None = None) -> Saved:
        if pending:
            saved = Saved("journalled", f"the local journal for {self.store.where}", reason, revision)
        else:
            saved = Saved("stored" if self.enabled else "off", self.store.where, reason, revision)
        self.meter.counts[saved.outcome] += 1
        return saved

    def _refused(self, reason: str) -> Saved:
        self.meter.counts["refused"] += 1
        return Saved("refused", self.store.where, reason)

    @traced("load", "state")
    async def load(self, session_id: str, *, last: int | None = None) -> Loaded:
        """A session by its id, or why there is none: absent, unavailable, damaged and newer are told apart.

        Args:
            session_id: the session's handle.
            last: load only that many of its newest turns; the older ones stay in the store.

        Raises:
            BadSessionId: the id can name no session.
            BadInput: ``last`` is negative.
        """
        check_session_id(session_id)
        if last is not None and last < 0:
            raise BadInput(f"last is {last}; it is a number of turns, or None for all")
        start = time.perf_counter()
        loaded = await self._loaded(session_id, self.own.read(session_id, last=last))
        self._count_load(loaded, start)
        return loaded

    async def claim_and_load(
        self, session_id: str, turn: InFlight, *, last: int | None = None
    ) -> tuple[Found | None, Loaded]:
        """Claim a session for a turn and load it as it is from then on, in one round trip where that can be.

        What stands in the way is told first: a turn that is ``running`` has to be waited for, and nothing was
        loaded. Whoever calls it keeps the claim (`TurnsInFlight.kept`), and gives it up whatever happens.

        Raises:
            BadSessionId: the id can name no session.
            BadInput: the session is shared, to be read only.
        """
        check_session_id(session_id)
        found: Found | None = None

        async def read() -> Stored | None:
            nonlocal found
            found, stored = await self.turns.claim_and_read(session_id, turn, last=last)
            return stored

        with span("load") as note:
            start = time.perf_counter()
            loaded = await self._loaded(session_id, read())
            if found is None or not found.running:
                self._count_load(loaded, start)
                note("outcome", loaded.state)
        if loaded.session is not None:
            refuse_reader(loaded.session)
        return found, loaded

    def _count_load(self, loaded: Loaded, start: float) -> None:
        self.meter.took("load", start)
        self.meter.counts[loaded.state] += 1

    async def _loaded(self, session_id: str, reading: Awaitable[Stored | None]) -> Loaded:
        with within(self.budget):
            return await self._loader.loaded(session_id, reading)

    async def load_session(self, session_id: str, *, last: int | None = None) -> UniversalSession | None:
        """A session by its id, or None if there is none or the store cannot say (`load` tells which).

        Raises:
            BadSessionId: the id can name no session.
            Damaged, Newer, Sealed: something is stored under the id that this version must not touch.
        """
        loaded = await self.load(session_id, last=last)
        return loaded.need() if loaded.state in ("damaged", "newer", "sealed") else loaded.session

    async def require(self, session_id: str, *, last: int | None = None) -> UniversalSession:
        """A session by its id.

        Raises:
            BadSessionId, Damaged, Newer, Sealed: as `load_session`.
            SessionNotFound: there is none.
            Unavailable: the store cannot say.
        """
        return (await self.load(session_id, last=last)).need()

    async def require_or_stand_in(
        self, session_id: str, backend: str, *, last: int | None = None
    ) -> UniversalSession:
        """A session by its id; if the store is away and nothing is known here, an empty one to go on with.

        What is recorded in the stand-in is merged into the stored session when that can be read again; the
        rest of it counts for nothing then.

        Raises:
            BadSessionId, Damaged, Newer, SessionNotFound: as `require`.
            BadInput: the session is shared, to be read only.
        """
        return await self.or_stand_in(await self.load(session_id, last=last), session_id, backend)

    async def or_stand_in(self, loaded: Loaded, session_id: str, backend: str) -> UniversalSession:
        """The session that was loaded, or one to go on with; as `require_or_stand_in`, with the same errors."""
        try:
            session = loaded.need()
        except Unavailable:
            return stand_in(session_id, backend, self.store, await self.forms.to_write(session_id))
        refuse_reader(session)
        return session

    async def delete_session(self, session_id: str) -> bool:
        """Remove a session; whether there was one. Its executions stay until they expire, but for encrypted ones.

        A late writer who still holds the session does not bring it back.

        Raises:
            BadSessionId: the id can name no session.
            StoreError: the store cannot be reached.
        """
        check_session_id(session_id)
        with within(self.budget):
            if self.forms.vault is not None:
                await self.forms.vault.erase(session_id)
            return await self.own.delete(session_id, deleted_at=now(), ttl=TOMBSTONE_SECONDS)

    async def list_sessions(self, limit: int = 20) -> list[Summary]:
        """Summaries of one's own sessions used last, newest first; histories are not read, nothing is touched.

        While the store is away, those that this machine knows are listed; an encrypted session whose key cannot
        be had is listed without its title.

        Raises:
            Unavailable: the store cannot be reached, and nothing is known here.
        """
        summaries = []
        with within(self.budget):
            recent = await self.own.recent(limit)
            forms = await self.forms.of_listed(recent)
        for listed, form in zip(recent, forms, strict=True):
            try:
                summaries.append(summarize(listed, form))
            except (Damaged, Newer) as error:
                log.warning("a session is left out of the listing: %s", type(error).__name__)
        return summaries

    async def fork_session(self, session_id: str, *, last: int | None = None) -> UniversalSession:
        """A new session that goes on from another one: its context, and its turns or the ``last`` of them.

        Raises:
            SessionNotFound, BadSessionId, Damaged, Newer, Sealed, Unavailable: as `require`.
            StoreError: the new one could not be saved.
        """
        source = await self.require(session_id, last=last)
        moment = now()
        fork = UniversalSession.of_head(
            source.head() | {"id": new_id("session"), "backend_session_id": None},
            History.of_lines(source.history.stored_lines() or (), form=source.history.form),
        )
        fork.metadata |= {"created_at": moment, "last_active": moment, "forked_from": source.id}
        saved = await self.save_session(fork)
        if saved.outcome == "refused":
            raise StoreError(f"the fork could not be saved: {saved.reason}")
        return fork

    async def save_execution(self, execution: Execution, *, ttl: TimesToLive | None = None) -> Saved:
        """Store an execution, and its entry in the history of its flow; for ``ttl`` see `save_session`."""
        try:
            with within(self.budget):
                stored = await self._executions.put(execution, ttl or self.ttl)
        except (BadInput, StoreError) as error:
            log.warning("execution %s was not saved: %s", execution.id, type(error).__name__)
            return self._refused(str(error))
        return self._saved(pending=not stored)

    async def load_execution(self, execution_id: str) -> Execution | None:
        """An execution by its id, also after its session has ended; None if there is none.

        Raises:
            StoreError: the store cannot be reached, or what is stored is damaged.
        """
        with within(self.budget):
            return await self._executions.get(execution_id)

    async def load_history(self, session_id: str, flow_id: str) -> list[dict[str, Any]]:
        """The executions of a flow in a session, oldest first: id, timestamp, question, status, duration_ms.

        Raises:
            StoreError: the store cannot be reached, or what is stored is damaged.
        """
        with within(self.budget):
            return await self._executions.history(session_id, flow_id)

    async def health(self) -> Health:
        """How the store is; asks it, unless it is known to be away."""
        return await health_of(self.store, self.meter, self._saver.large, enabled=self.enabled)
