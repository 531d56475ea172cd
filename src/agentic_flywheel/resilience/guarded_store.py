"""Deadline and circuit breaker around a store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, Literal, TypeVar

from ..errors import BadInput, PartlyUnavailable, ReadOnly, StoreError, Unavailable
from ..stores import Change, Claim, Grant, Listed, Mark, Record, Store, Stored
from ..stores.base import Kind
from ..stores.deadline import Deadline, current
from .breaker import Breaker
from .watch import Watch

log = logging.getLogger("agentic_flywheel.store")

T = TypeVar("T")
State = Literal["available", "read-only", "unavailable"]

PROBE = ""  # a name that no session has: what a probe writes, and removes again


class GuardedStore(Store):
    """Answers within the budget of the operation, or raises `Unavailable`; at once while the breaker is open.

    A call that is given up is not undone: it may be applied later. Every write can be written twice, so the
    caller may simply write it again. A store that answers and only takes no writes is asked on.

    ``budget`` is for an operation that has none of its own, ``reserve`` what of each is left to the caller; both
    are seconds.
    """

    def __init__(self, inner: Store, breaker: Breaker, *, budget: float, reserve: float = 0.0) -> None:
        self.inner = inner
        self.name, self.where = inner.name, inner.where
        self.breaker = breaker
        self.budget = budget
        self._reserve = reserve
        self._watch = Watch()
        self.state: State = "available"
        self.since = time.time()
        self.last_error: str | None = None
        self._failure: type[Unavailable] = Unavailable
        self._takes_writes = True
        self._probing: asyncio.Task[bool] | None = None

    async def probe(self) -> bool:
        """Try to write if a probe is due; whether the store takes writes now."""
        if self.breaker.start_probe() or self.state == "read-only":
            with suppress(StoreError):
                await self._watched(self._write_something(), Deadline(max(self.budget, 1.0)), writes=True)
        return self.state == "available"

    async def _write_something(self) -> None:
        await self.inner.claim(PROBE, PROBE, b"{}", seconds=0)
        await self.inner.release(PROBE, PROBE)

    def _probe_beside(self) -> None:
        """Have the store probed if it is time, without a caller who waits for it."""
        if self.breaker.until_probe() > 0:
            return
        task = self._probing
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            self._probing = asyncio.create_task(self.probe(), context=Context())

    def _guarded(self, call: Awaitable[T], *, writes: bool = False) -> Coroutine[Any, Any, T]:
        deadline = current() or Deadline(self.budget)
        if not self.breaker.admits:
            _discard(call)
            self._probe_beside()
            raise self._failure(f"{self.where} is not asked: {self.last_error}")
        if not deadline.remaining(self._reserve):
            _discard(call)
            raise Unavailable(f"{self.where} is not asked: the time is up")
        return self._watched(call, deadline, writes=writes)

    async def _watched(self, call: Awaitable[T], deadline: Deadline, *, writes: bool) -> T:
        """The answer to a call, and the breaker told how it went."""
        probing = self.breaker.state == "half-open"
        try:
            answer = await self._watch.until(deadline, call, self._reserve)
        except (ReadOnly, PartlyUnavailable) as error:  # a part that is away does not shut off the others
            self._answered(error if isinstance(error, ReadOnly) else None)
            raise
        except Unavailable as error:
            self._failed(error)
            raise
        except (StoreError, BadInput):
            self._answered()
            raise
        except asyncio.CancelledError:  # says nothing about the store; a probe has to be answered for, though
            if probing:
                self._failed(Unavailable("the probe was cancelled"))
            raise
        except Exception as error:  # what the store could make nothing of was no answer
            strange = Unavailable(f"{self.where} answers with what makes no sense ({type(error).__name__})")
            self._failed(strange)
            raise strange from error
        self._takes_writes |= writes
        self._answered()
        return answer

    def _answered(self, refusal: ReadOnly | None = None) -> None:
        self.breaker.succeeded()
        if refusal is not None:
            self._takes_writes, self.last_error = False, str(refusal)
        self._note_state()

    def _failed(self, error: Unavailable) -> None:
        self.breaker.failed()
        self.last_error, self._failure = str(error), type(error)
        self._note_state()

    def _note_state(self) -> None:
        """Log a change of state, once."""
        state: State = "available" if self._takes_writes else "read-only"
        if not self.breaker.admits:
            state = "unavailable"
        if state == self.state:
            return
        self.state, self.since = state, time.time()
        if state == "available":
            self.last_error = None
        log.warning("store state=%s where=%s reason=%r", state, self.where, self.last_error)

    async def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Stored | None:
        return await self._guarded(self.inner.read(session_id, last=last, after=after, touch=touch))

    async def write(self, change: Change, *, limit: int) -> Mark:
        return await self._guarded(self.inner.write(change, limit=limit), writes=True)

    async def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> bool:
        return await self._guarded(self.inner.delete(session_id, deleted_at=deleted_at, ttl=ttl), writes=True)

    async def recent(self, limit: int, owner: str = "") -> list[Listed]:
        return await self._guarded(self.inner.recent(limit, owner))

    async def count(self, owner: str, enough: int) -> int:
        return await self._guarded(self.inner.count(owner, enough))

    async def put(self, records: Sequence[Record]) -> bool:
        return await self._guarded(self.inner.put(records), writes=bool(records))

    async def execution(self, execution_id: str) -> bytes | None:
        return await self._guarded(self.inner.execution(execution_id))

    async def share(self, name: str) -> bytes | None:
        return await self._guarded(self.inner.share(name))

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        return await self._guarded(self.inner.entries(session_id, flow_id))

    async def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Grant:
        call = self.inner.claim(session_id, turn_id, note, seconds=seconds, instead=instead)
        return await self._guarded(call)  # another's claim is an answer that took no write

    async def claim_and_read(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, last: int | None = None
    ) -> tuple[Grant, Stored | None]:
        return await self._guarded(self.inner.claim_and_read(session_id, turn_id, note, seconds=seconds, last=last))

    async def fence(self, session_id: str, fence: int) -> None:
        await self._guarded(self.inner.fence(session_id, fence))

    async def claimed(self, session_id: str) -> Claim | None:
        return await self._guarded(self.inner.claimed(session_id))

    async def release(self, session_id: str, turn_id: str) -> None:
        await self._guarded(self.inner.release(session_id, turn_id))

    async def raw(self, session_id: str) -> bytes | None:
        return await self._guarded(self.inner.raw(session_id))

    async def set_aside(self, session_id: str, raw: bytes) -> str | None:
        return await self._guarded(self.inner.set_aside(session_id, raw))

    async def aside(self, session_id: str) -> dict[str, bytes]:
        return await self.inner.aside(session_id)  # it walks the store

    def names(self, kind: Kind) -> AsyncIterator[tuple[str, ...]]:
        return self.inner.names(kind)  # upkeep takes the time that it takes

    async def reindex(self) -> int:
        return await self.inner.reindex()

    async def erase(self, owner: str) -> int:
        return await self.inner.erase(owner)

    async def check(self) -> dict[str, object]:
        return await self._guarded(self.inner.check())

    async def close(self) -> None:
        task, self._probing = self._probing, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait((task,))
        await self.inner.close()


def _discard(call: Awaitable[object]) -> None:
    close = getattr(call, "close", None)
    if close is not None:
        close()
