"""What every store does. The docstrings here are the contract; one suite of tests runs it on all of them.

A session is stored as a *head* (one JSON object: everything but the history), the moment of its last use,
and *lines* (its turns, oldest first, each one JSON object without a newline). Stores do not look inside.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

Kind = Literal["session", "execution", "history", "share"]

ASIDE_SECONDS = 30 * 24 * 3600


class Mark(Struct, frozen=True, eq=False):
    """The state of a stored session that a reader has seen and a writer builds on.

    ``version`` is another one after each write, and never comes again, not even in a store restored from a
    backup. ``epoch`` changes only when earlier turns were rewritten, so within one epoch the first turns of
    two states are the same. ``revision`` counts writes, ``total`` turns. One that is ``pending`` was accepted on
    this machine, and the store does not have it yet. A write tells the session's ``size`` in bytes, too.
    """

    version: str
    epoch: str
    revision: int
    total: int
    pending: bool = False
    size: int = 0

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Mark) and self._state == other._state

    def __hash__(self) -> int:
        return hash(self._state)

    @property
    def _state(self) -> tuple[object, ...]:
        return self.version, self.epoch, self.revision, self.total, self.pending


class Stored(Struct, frozen=True):
    """What a store holds of a session: its head, and the lines from turn number ``start`` on.

    A ``foreign`` one was written by somebody else: it cannot be appended to, only be written as a whole. One
    that is ``behind`` comes from what is known on this machine while the store is away. ``shared_by`` is the owner
    where somebody else reads it.
    """

    mark: Mark
    head: bytes
    last_active: str | None
    lines: Sequence[bytes]
    start: int = 0
    foreign: bool = False
    behind: bool = False
    shared_by: str = ""

    def cut(self, last: int | None, after: int | None) -> Stored:
        """Of all its lines, the ``last`` newest, or those from turn number ``after`` on."""
        total = len(self.lines)
        start = max(min(after or 0, total), 0 if last is None else total - last, 0)
        return replace(self, lines=self.lines[start:], start=start)


class Record(Struct, frozen=True):
    """Something kept beside a session for as long as ``ttl`` says, written again without harm.

    An execution is a document under its id. A history entry is one line of the history of ``flow_id`` in
    ``session_id``; the newest entry of an id counts. A share is kept under the name that its reader has for the
    session, and says whose it is; an empty one is none.
    """

    kind: Literal["execution", "history", "share"]
    id: str
    data: bytes
    ttl: int
    session_id: str = ""
    flow_id: str = ""


def new_version() -> str:
    """A version, or an epoch, that no other write has: 16 characters, 64 random bits."""
    return os.urandom(8).hex()


class Change(Struct, frozen=True):
    """One write of a session: what it is based on, and what it makes of it.

    ``base`` None creates the session. ``history`` None appends ``added``; otherwise it is the whole history,
    and ``added`` the end of it that is new; it begins the ``epoch`` that is named, else one of its own.
    ``base_head`` is the head as it was read, so that a writer who comes too late can tell what this one
    changed. ``created_at`` is when the conversation began. ``ttl`` is in seconds, 0 keeps for ever. A change
    that is written twice is there once: ``version`` tells. ``fence`` is the one of the claim under which it is
    written, 0 if it is written under none. ``releases`` is the turn whose claim is given up with it, if any.
    """

    session_id: str
    base: Mark | None
    base_head: bytes | None
    head: bytes
    last_active: str | None
    created_at: str | None = None
    added: Sequence[bytes] = ()
    history: Sequence[bytes] | None = None
    ttl: int = 0
    records: Sequence[Record] = ()
    version: str = field(default_factory=new_version)
    epoch: str | None = None
    fence: int = 0
    releases: str | None = None


class Listed(Struct, frozen=True):
    """A line of a listing: a session without its turns; ``size`` is in bytes, with them."""

    session_id: str
    head: bytes
    last_active: str | None
    total: int
    size: int = 0


class Claim(Struct, frozen=True):
    """The right to run a turn in a session, for a while; ``note`` (JSON) says what is run.

    ``until`` is when it ends by itself, in seconds since 1970 by the store's clock; ``ended`` whether it has.
    ``fence`` is greater than that of every earlier claim on the session, and stays the same while it is renewed.
    """

    turn_id: str
    note: bytes
    until: float
    ended: bool = False
    fence: int = 0


class Grant(Struct, frozen=True):
    """The answer to who claims a session: the ``fence`` of the claim, or another's that stands.

    ``found`` is the claim that stood there: it stands still, or it had ended and gave way. ``fence`` is 0 where
    another's stands, and where the store that knows them is away.
    """

    fence: int
    found: Claim | None = None

    @property
    def stands(self) -> bool:
        """Whether another's claim stands, so that this one was not granted."""
        return self.found is not None and not self.found.ended


class Backlog(Struct, frozen=True):
    """What a store layer that takes writes for a store that is away has yet to give to it.

    ``since`` is when the store was last found away or back, and ``oldest`` when the oldest entry was accepted,
    both in seconds since 1970. ``refused`` counts entries that the store would not take; they are kept.
    ``breaker`` is the state of the circuit breaker in front of the store.
    """

    available: bool
    since: float
    last_error: str | None
    pending: int
    pending_bytes: int
    oldest: float | None
    refused: int
    breaker: str


class Store(ABC):
    """Keeps sessions, executions and flow histories as bytes.

    Every method but `close` raises `Unavailable` where the store cannot be reached, and `Misconfigured`
    where it refuses until a setting is changed. Methods that read a session raise `Damaged` where something
    else than a session is stored under the name. What has expired is absent.
    """

    name: str
    """``"memory"``, ``"sqlite"`` or ``"redis"``."""

    where: str
    """Where it keeps things, for people: a path or a URL without its password."""

    @abstractmethod
    async def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Stored | None:
        """The session, or None if it is absent; with ``touch`` its time to live starts again.

        ``last`` limits the lines to that many newest ones, ``after`` to those from that turn number on.
        """

    @abstractmethod
    async def write(self, change: Change, *, limit: int) -> Mark:
        """Write a session in one atomic step and put its records beside it; the state that is stored now.

        The claim of the turn that the change ``releases`` is given up once it is written, and not before: where
        this raises, or the state is ``pending``, the turn may have it still.

        Raises:
            Conflict: the session is not what the change is based on; nothing was written to it.
            Deleted: the change would create a session that was deleted since ``created_at``; nothing was written.
            TooLarge: it would have more than ``limit`` bytes; nothing was written to it.
            Fenced: a write with a greater ``fence`` came before, or `fence` did; nothing was written.
            Damaged: something else than a session is stored there; it was left alone.
        """

    @abstractmethod
    async def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> bool:
        """Remove a session and note when, for ``ttl`` seconds; whether there was one."""

    @abstractmethod
    async def recent(self, limit: int, owner: str = "") -> list[Listed]:
        """The sessions of an owner used last, newest first, without touching them. Damaged ones are left out."""

    @abstractmethod
    async def count(self, owner: str, enough: int) -> int:
        """How many sessions an owner has; where it may be ``enough``, what has expired is not among them."""

    @abstractmethod
    async def put(self, records: Sequence[Record]) -> bool:
        """Store executions and history entries; False if they are only accepted, as a `Mark` can be pending."""

    @abstractmethod
    async def execution(self, execution_id: str) -> bytes | None:
        """An execution's document."""

    @abstractmethod
    async def share(self, name: str) -> bytes | None:
        """Whose session the one is that a reader was given under this name; None if none was."""

    @abstractmethod
    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        """The history of a flow in a session, oldest first, the newest entry of each id only."""

    @abstractmethod
    def names(self, kind: Kind) -> AsyncIterator[tuple[str, ...]]:
        """The name of everything of a kind: ``(session_id,)``, ``(execution_id,)``, ``(session_id, flow_id)``.

        For upkeep: it walks the whole store.
        """

    @abstractmethod
    async def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Grant:
        """Claim a session for a turn for so many seconds, or claim it for longer, in one atomic step.

        It is granted if the session was free, or the claim that was there had ended: that gave way then, and is
        told. The claim of the turn ``instead`` gives way in any case. A claim is kept after its end, until another
        takes its place, it is released or a week has passed.
        """

    async def claim_and_read(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, last: int | None = None
    ) -> tuple[Grant, Stored | None]:
        """`claim`, then `read`: what is read is never older than the claim. A store may do it in one round trip.

        Where another's claim stands, nothing need be read. Whoever calls it gives the claim up also where it
        raises: the claim may have been granted by then.
        """
        grant = await self.claim(session_id, turn_id, note, seconds=seconds)
        return grant, await self.read(session_id, last=last)

    @abstractmethod
    async def fence(self, session_id: str, fence: int) -> None:
        """From now on refuse writes of the session under an earlier claim than the one with this ``fence``."""

    @abstractmethod
    async def claimed(self, session_id: str) -> Claim | None:
        """The claim on a session, also one that has ended; None if it is free."""

    @abstractmethod
    async def release(self, session_id: str, turn_id: str) -> None:
        """Give up the claim of a turn, if it still has one."""

    @abstractmethod
    async def raw(self, session_id: str) -> bytes | None:
        """The bytes under a session's name, whatever they are."""

    @abstractmethod
    async def set_aside(self, session_id: str, raw: bytes) -> str | None:
        """Move what is stored under a session's name out of the way, if it still is ``raw``; for what is damaged.

        Where it is now, for people; None if something else is there. It is kept for `ASIDE_SECONDS` at least.
        """

    @abstractmethod
    async def aside(self, session_id: str) -> dict[str, bytes]:
        """What was set aside of a session, by where it is, oldest first. It may walk the whole store."""

    @abstractmethod
    async def reindex(self) -> int:
        """Find sessions that others wrote, so that they are listed, and forget what is gone. For upkeep.

        How many there are.
        """

    @abstractmethod
    async def erase(self, owner: str) -> int:
        """Remove everything that an owner has, and the notes of it; how many things there were. For upkeep.

        Notes that sessions were deleted stay, so that nobody who still holds one writes it again.
        """

    @abstractmethod
    async def check(self) -> dict[str, object]:
        """Ask the store whether it serves; what it says of itself, for ``flywheel doctor``."""

    async def backlog(self) -> Backlog | None:
        """What waits to be written; None for a store that writes at once. Never raises `Unavailable`."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Let go of files and connections. The store may be used again afterwards: it opens on first use."""
