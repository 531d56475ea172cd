"""Moving everything from one store to another; may be run twice, and while the source is in use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..codec import merge_heads, missing
from ..commit import commit
from ..config import LONGEST_TTL, Limits, TimesToLive
from ..errors import StoreError, TooLarge
from ..jsontext import decode
from ..session.parts import unpack_head
from ..session.times import seconds
from ..stores import Change, Record, Store, Stored
from ..stores.base import Kind
from ..stores.names import shown


@dataclass(slots=True)
class Copied:
    """How many of each kind were copied, and what was not, by name, with the reason."""

    sessions: int = 0
    executions: int = 0
    histories: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


async def copy_everything(
    source: Store,
    target: Store,
    *,
    ttl: TimesToLive,
    limits: Limits,
    progress: Callable[[Kind], None] = lambda kind: None,
) -> Copied:
    """Copy all sessions, executions and flow histories; the target keeps what it has more.

    Turns are known by their ids, so nothing is there twice. Where both have a session, its head comes from
    the side where it was used last. What was copied is kept for as long as something new would be.

    Args:
        source: where from; it is not changed.
        target: where to.
        ttl: how long the copies are kept; a session that says itself is kept as long as it says.
        limits: the greatest sizes in the target.
        progress: called with the kind of each thing that was copied.

    Raises:
        StoreError: one of the stores cannot be reached.
    """
    copied = Copied()
    async for (session_id,) in source.names("session"):
        try:
            copied.sessions += await _copy_session(source, target, session_id, ttl.session, limits)
        except (StoreError, TooLarge) as error:
            copied.skipped[shown(session_id)] = str(error)
        progress("session")
    async for (execution_id,) in source.names("execution"):
        data = await source.execution(execution_id)
        if data is not None:
            await target.put([Record("execution", execution_id, data, ttl.execution)])
            copied.executions += 1
        progress("execution")
    async for session_id, flow_id in source.names("history"):
        await _copy_history(source, target, session_id, flow_id, ttl.history)
        copied.histories += 1
        progress("history")
    async for (name,) in source.names("share"):
        owner = await source.share(name)
        if owner is not None:
            await target.put([Record("share", name, owner, ttl.session)])
    return copied


async def _copy_session(source: Store, target: Store, session_id: str, ttl: int, limits: Limits) -> int:
    stored = await source.read(session_id, touch=False)
    if stored is None:
        return 0
    there = await target.read(session_id, touch=False)
    change = _creation(session_id, stored, ttl) if there is None else _addition(session_id, stored, there, ttl)
    await commit(target, change, limit=limits.session_bytes)
    return 1


def _creation(session_id: str, stored: Stored, ttl: int) -> Change:
    metadata = unpack_head(stored.head, None)["metadata"]
    return Change(
        session_id,
        None,
        None,
        stored.head,
        stored.last_active,
        created_at=metadata.get("created_at"),
        added=stored.lines,
        ttl=_own_ttl(stored, ttl),
    )


def _addition(session_id: str, stored: Stored, there: Stored, ttl: int) -> Change:
    newer, older = (stored, there) if seconds(stored.last_active) > seconds(there.last_active) else (there, stored)
    return Change(
        session_id,
        there.mark,
        there.head,
        merge_heads(None, newer.head, older.head),
        newer.last_active,
        added=missing(stored.lines, there.lines),
        ttl=_own_ttl(newer, ttl),
    )


def _own_ttl(stored: Stored, default: int) -> int:
    own = unpack_head(stored.head, None)["metadata"].get("ttl_seconds")
    return own if type(own) is int and 0 <= own <= LONGEST_TTL else default


async def _copy_history(source: Store, target: Store, session_id: str, flow_id: str, ttl: int) -> None:
    there = set(await target.entries(session_id, flow_id))
    records = []
    for entry in await source.entries(session_id, flow_id):
        if entry not in there:
            value = decode(entry)
            name = value.get("id", "") if isinstance(value, dict) else ""
            records.append(Record("history", name, entry, ttl, session_id, flow_id))
    if records:
        await target.put(records)
