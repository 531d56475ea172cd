"""FastMCP's own session state, kept in our store: what its ``session_state_store`` takes.

FastMCP reads the whole state of a session, changes one key of it and puts the whole back. The key-value protocol
has no more than that: a ``put`` does not say what it is based on. So it is remembered, in the context of whoever
reads, what was read last; a put under the same key is the difference to it, and that is merged into what is stored
by now, in the store's own atomic step.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Self, SupportsFloat
from weakref import WeakValueDictionary

from key_value.aio.errors import InvalidTTLError

from ...errors import StoreError
from ...jsontext import encode
from ...manager import SessionManager
from ...session import UniversalSession, now
from ...session.principal import principal_of_program
from ...session.times import format_time, seconds
from ...stores.owned import acting_as
from ..redis_manager import RedisSessionManager
from .entries import gathered, spread

BACKEND = "fastmcp"
"""The backend of the sessions that entries are kept as."""

OWNER = principal_of_program("fastmcp-state")
"""Whose they are: no caller's, so no handle tool lists them, and none takes their names for handles."""

EXPIRES_AT = "expires_at"


class SessionStateStore:
    """A key-value store for FastMCP: its ``Session`` and ``UserSession`` are then kept where sessions are.

    ::

        server = FastMCP("shop", session_state_store=SessionStateStore())

    It has the methods of py-key-value's ``AsyncKeyValue``. Each entry is a session document of its own; what
    FastMCP's sessions hold is merged key by key where several write at once, so that no ``set`` of another key is
    lost. Two that set one key at once: the later one stands. A value that is read, changed and set by two at once
    is *not* safe, since FastMCP does not say that the second depends on the first: use `State` for that.

    Args:
        url: where entries are kept, as for `RedisSessionManager`; if not given, as the settings say, else in an
            embedded SQLite file.
        ttl_seconds: how long an entry is kept after its last use, if it was put without a time to live; 0 keeps
            it for ever. Default: the settings', 7 days.
        manager: a session manager of yours, `DurableSessions.manager` for example, instead of the two; who made it
            closes it.

    Nothing is opened before the first call. To close it in order, pass `lifespan` to the server.

    Raises:
        ConfigError: a setting cannot be used; says which.
        MissingExtra: a Redis is named and its client library is not installed.
    """

    def __init__(
        self, url: str | None = None, *, ttl_seconds: int | None = None, manager: SessionManager | None = None
    ) -> None:
        self._owned = None if manager else RedisSessionManager(url=url, ttl_seconds=ttl_seconds)
        self.manager: SessionManager = manager or self._owned  # type: ignore[assignment]  # one of them is there
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        await self.manager.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close files and connections; it may be used again."""
        if self._owned is not None:
            await self._owned.close()

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[Self]:
        """For a server's ``lifespan``: connects when it starts, and closes when it stops."""
        async with self:
            yield self

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        """The value under a key; None if there is none, or not any more.

        Raises:
            StoreError: it cannot be read; that is not to say that there is none.
        """
        return (await self.ttl(key, collection=collection))[0]

    async def ttl(self, key: str, *, collection: str | None = None) -> tuple[dict[str, Any] | None, float | None]:
        """The value under a key, and the seconds that it will be kept, None if it was put without a number."""
        name = _name(collection, key)
        session = await self._load(name)
        _read.set(_Read(self, name, session))
        if session is None or (left := _seconds_left(session)) == 0:
            return None, None
        return gathered(session.context), left

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store a value under a key.

        Where the same context has read the key before, what others have changed since is kept, and what was changed
        in the value goes over it; else the value replaces what there is.

        Args:
            key: what to find it by.
            value: what to store, of JSON types.
            collection: a space of keys of its own.
            ttl: how long to keep it from now on, in seconds; None: as the store was told to.

        Raises:
            InvalidTTLError: the time to live is no positive number.
            StoreError: it was not stored; says why.
        """
        kept = _checked(ttl)
        name = _name(collection, key)
        lock = self._locks.setdefault((id(asyncio.get_running_loop()), name), asyncio.Lock())
        read = _taken(self, name)
        async with lock:
            session = read.session if read else await self._load(name)
            if session is None:
                session = UniversalSession(id=name, backend=BACKEND)
            session.context = spread(value)
            session.metadata["last_active"] = now()
            _keep_for(session, kept)
            with acting_as(OWNER):
                saved = await self.manager.save_session(session)
        if saved.outcome == "refused":
            raise StoreError(f"the state was not saved: {saved.reason}")

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        """Remove what is under a key; whether there was something.

        Raises:
            StoreError: the store cannot be reached.
        """
        name = _name(collection, key)
        _taken(self, name)
        with acting_as(OWNER):
            return await self.manager.delete_session(name)

    async def get_many(self, keys: Sequence[str], *, collection: str | None = None) -> list[dict[str, Any] | None]:
        """`get`, for several keys."""
        return [await self.get(key, collection=collection) for key in keys]

    async def ttl_many(
        self, keys: Sequence[str], *, collection: str | None = None
    ) -> list[tuple[dict[str, Any] | None, float | None]]:
        """`ttl`, for several keys."""
        return [await self.ttl(key, collection=collection) for key in keys]

    async def put_many(
        self,
        keys: Sequence[str],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """`put`, for several keys, one after another: not all or nothing."""
        for key, value in zip(keys, values, strict=True):
            await self.put(key, value, collection=collection, ttl=ttl)

    async def delete_many(self, keys: Sequence[str], *, collection: str | None = None) -> int:
        """`delete`, for several keys; how many there were."""
        return sum([await self.delete(key, collection=collection) for key in keys])

    async def _load(self, name: str) -> UniversalSession | None:
        with acting_as(OWNER):
            loaded = await self.manager.load(name, last=0)
        return None if loaded.state == "absent" else loaded.need()


@dataclass(slots=True)
class _Read:
    """What was read last, until something is put there."""

    store: SessionStateStore
    name: str
    session: UniversalSession | None
    fresh: bool = True


_read: ContextVar[_Read | None] = ContextVar("read", default=None)


def _taken(store: SessionStateStore, name: str) -> _Read | None:
    """What this context has read under a name, for one write: the next one needs a read of its own."""
    read = _read.get()
    if read is None or not read.fresh or read.store is not store or read.name != name:
        return None
    read.fresh = False
    return read


def _name(collection: str | None, key: str) -> str:
    """The session that an entry is: a hash, since a key may be longer than a session's id and name a person."""
    return f"fastmcp_{sha256(encode([collection, key])).hexdigest()}"


def _checked(ttl: SupportsFloat | None) -> float | None:
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not 0 < float(ttl) < math.inf:
        raise InvalidTTLError(ttl=ttl)
    return float(ttl)


def _keep_for(session: UniversalSession, ttl: float | None) -> None:
    """Set how long an entry is kept: to the moment if that was said, else as sessions are."""
    session.metadata.pop(EXPIRES_AT, None)
    session.ttl_seconds = None if ttl is None else math.ceil(ttl)
    if ttl is not None:
        session.metadata[EXPIRES_AT] = format_time(datetime.now(UTC) + timedelta(seconds=ttl))


def _seconds_left(session: UniversalSession) -> float | None:
    expires_at = session.metadata.get(EXPIRES_AT)
    return None if expires_at is None else max(0.0, seconds(expires_at) - datetime.now(UTC).timestamp())
