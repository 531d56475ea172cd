"""Whose things are read and written: each principal has a store of its own within the store.

There is no step at which an owner is compared and which could be forgotten: the owner is part of the name
under which a session, its turns, claims, executions, histories and tombstones lie, in the store as in the
journal. A handle of somebody else names nothing, in content as in time.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from msgspec.structs import replace

from ..errors import BadInput, BadSessionId, TooMany, Unavailable
from ..session.principal import PROGRAM
from .base import Backlog, Change, Claim, Grant, Kind, Listed, Mark, Record, Store, Stored
from .names import BETWEEN, PRINCIPAL, id_of, name_of

NOBODY = ""
"""The owner of what was made without authentication, and whoever acts without."""

COUNTED_AGAIN_SECONDS = 60.0

_acting: ContextVar[str] = ContextVar("acting", default=NOBODY)


def acting() -> str:
    """The principal for whom the call under way is made; `NOBODY` where nobody has to say who they are."""
    return _acting.get()


@contextmanager
def acting_as(principal: str) -> Iterator[None]:
    """Make calls inside for a principal: they see what is its own, and what they make belongs to it.

    Args:
        principal: as `agentic_flywheel.session.principal.principal_of` makes it, or `NOBODY`.

    Raises:
        BadInput: it is no principal.
    """
    if principal and not PRINCIPAL.fullmatch(principal):
        raise BadInput("a principal is 32 hexadecimal digits, as principal_of(issuer, subject) makes it")
    token = _acting.set(principal)
    try:
        yield
    finally:
        _acting.reset(token)


class OwnedStore(Store):
    """A store as the acting principal has it.

    ``most`` is how many sessions a user may have; for `NOBODY` and for programs there is no limit.
    """

    def __init__(self, inner: Store, *, most: int) -> None:
        self.inner = inner
        self.name, self.where = inner.name, inner.where
        self._most = most
        self._full: dict[str, float] = {}

    def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Coroutine[Any, Any, Stored | None]:
        if not (owner := _acting.get()):
            return self.inner.read(_plain(session_id), last=last, after=after, touch=touch)
        return self._read(owner, session_id, last, after, touch=touch)

    async def _read(
        self, owner: str, session_id: str, last: int | None, after: int | None, *, touch: bool
    ) -> Stored | None:
        name = name_of(owner, _plain(session_id))
        found = await self.inner.read(name, last=last, after=after, touch=touch)
        return found if found is not None else await self._read_shared(name, last, after)

    async def _read_shared(self, name: str, last: int | None, after: int | None) -> Stored | None:
        """What its owner shows to the reader in whose name it is asked for."""
        owner = (await self.inner.share(name) or b"").decode()
        if not owner:
            return None
        found = await self.inner.read(name_of(owner, id_of(name)), last=last, after=after, touch=False)
        return replace(found, shared_by=owner) if found is not None else None

    async def write(self, change: Change, *, limit: int) -> Mark:
        if not (owner := _acting.get()):
            return await self.inner.write(change, limit=limit)
        if change.base is None and not owner.startswith(PROGRAM):
            await self._refuse_too_many(owner)
        owned = replace(
            change,
            session_id=name_of(owner, _plain(change.session_id)),
            records=[_owned(owner, record) for record in change.records],
        )
        return await self.inner.write(owned, limit=limit)

    async def _refuse_too_many(self, owner: str) -> None:
        """Keep one principal from filling the store. While the store is away, it is not counted."""
        if time.monotonic() - self._full.get(owner, -COUNTED_AGAIN_SECONDS) > COUNTED_AGAIN_SECONDS:
            try:
                if await self.inner.count(owner, self._most) < self._most:
                    return
            except Unavailable:
                return
            self._full[owner] = time.monotonic()
        raise TooMany(
            f"you have {self._most:,} sessions, and there may be no more: end those that are not needed, or raise "
            "limits.sessions"
        )

    def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> Coroutine[Any, Any, bool]:
        self._full.pop(_acting.get(), None)
        return self.inner.delete(_name(session_id), deleted_at=deleted_at, ttl=ttl)

    async def recent(self, limit: int, owner: str | None = None) -> list[Listed]:
        listed = await self.inner.recent(limit, _acting.get() if owner is None else owner)
        return [replace(each, session_id=id_of(each.session_id)) for each in listed]

    def count(self, owner: str, enough: int) -> Coroutine[Any, Any, int]:
        return self.inner.count(owner, enough)

    def put(self, records: Sequence[Record]) -> Coroutine[Any, Any, bool]:
        owner = _acting.get()
        return self.inner.put([_owned(owner, record) for record in records] if owner else records)

    async def execution(self, execution_id: str) -> bytes | None:
        return None if BETWEEN in execution_id else await self.inner.execution(_name(execution_id))

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        return [] if BETWEEN in flow_id else await self.inner.entries(_name(session_id), flow_id)

    def share(self, name: str) -> Coroutine[Any, Any, bytes | None]:
        return self.inner.share(name)

    def names(self, kind: Kind) -> AsyncIterator[tuple[str, ...]]:
        return self.inner.names(kind)

    def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Coroutine[Any, Any, Grant]:
        return self.inner.claim(_name(session_id), turn_id, note, seconds=seconds, instead=instead)

    async def claim_and_read(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, last: int | None = None
    ) -> tuple[Grant, Stored | None]:
        name = _name(session_id)
        grant, found = await self.inner.claim_and_read(name, turn_id, note, seconds=seconds, last=last)
        if found is None and _acting.get():
            found = await self._read_shared(name, last, None)
        return grant, found

    def fence(self, session_id: str, fence: int) -> Coroutine[Any, Any, None]:
        return self.inner.fence(_name(session_id), fence)

    def claimed(self, session_id: str) -> Coroutine[Any, Any, Claim | None]:
        return self.inner.claimed(_name(session_id))

    def release(self, session_id: str, turn_id: str) -> Coroutine[Any, Any, None]:
        return self.inner.release(_name(session_id), turn_id)

    def raw(self, session_id: str) -> Coroutine[Any, Any, bytes | None]:
        return self.inner.raw(_name(session_id))

    def set_aside(self, session_id: str, raw: bytes) -> Coroutine[Any, Any, str | None]:
        return self.inner.set_aside(_name(session_id), raw)

    def aside(self, session_id: str) -> Coroutine[Any, Any, dict[str, bytes]]:
        return self.inner.aside(_name(session_id))

    def reindex(self) -> Coroutine[Any, Any, int]:
        return self.inner.reindex()

    def erase(self, owner: str) -> Coroutine[Any, Any, int]:
        return self.inner.erase(owner)

    def check(self) -> Coroutine[Any, Any, dict[str, object]]:
        return self.inner.check()

    def backlog(self) -> Coroutine[Any, Any, Backlog | None]:
        return self.inner.backlog()

    def close(self) -> Coroutine[Any, Any, None]:
        return self.inner.close()


def _plain(plain: str) -> str:
    if BETWEEN in plain:
        raise BadSessionId("an id holds a control character")
    return plain


def _name(plain: str) -> str:
    return name_of(_acting.get(), _plain(plain))


def _owned(owner: str, record: Record) -> Record:
    """A record under its owner's name. The id of a history entry names nothing; a share names its reader itself."""
    if record.kind == "execution":
        return replace(record, id=name_of(owner, _plain(record.id)), session_id=_named(owner, record.session_id))
    if record.kind == "history":
        return replace(record, session_id=_named(owner, record.session_id))
    return record


def _named(owner: str, plain: str) -> str:
    return name_of(owner, _plain(plain)) if plain else plain
