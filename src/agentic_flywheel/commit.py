"""Bringing one change of a session into a store, whatever others have written meanwhile.

A store refuses a write that is not based on what it holds. Then the change is *rebased*: turns that others
added come first and ours behind them, the heads are merged key by key, and the write is tried again. No
lock is held and nobody's turn is lost. A turn that is there already is not written again, so a change may
be committed twice: after an answer that was lost, or from a journal.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from .codec import decode_session, interleave, later, merge_heads, missing, put_back
from .errors import Conflict, Damaged, Deleted, Misconfigured, Unavailable
from .jsontext import decode
from .secrecy.form import keys_in
from .session.lines import common_beginning
from .stores import Change, Mark, Store, Stored
from .stores.base import new_version
from .stores.names import id_of, shown

log = logging.getLogger(__name__)

TRIES = 30
LONGEST_PAUSE = 0.05  # seconds


class Committed(Struct, frozen=True):
    """What a store holds after a commit: from turn number ``start`` on, these lines; and this head.

    ``aside`` says where a damaged document is now that stood in the way.
    """

    mark: Mark
    head: bytes
    last_active: str | None
    start: int
    lines: Sequence[bytes]
    aside: str | None = None


class _Attempt(Struct, frozen=True):
    change: Change
    start: int
    lines: Sequence[bytes]


async def commit(
    store: Store,
    change: Change,
    known: Sequence[bytes] = (),
    *,
    limit: int,
    behind_others: bool = False,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Committed:
    """Write a change; rebase and try again while others write.

    What is damaged is moved aside, and the session goes on from what is known.

    Args:
        store: where to.
        change: what to write.
        known: the lines that the writer read or wrote before ``change.added``; from them a store that has
            lost turns (flushed, restored from an old copy) gets them back.
        limit: the greatest size of a session, in bytes.
        behind_others: only put it behind what others added, if it is based on anything.
        pause: how to wait; seconds.

    Raises:
        Conflict: it can not be put ``behind_others``: the session is gone, or is another one than it was based on.
        TooLarge, Unavailable, Misconfigured: as `Store.write`.
        Deleted: as `Store.write`; or another session was begun under the id, and the keys of this one were erased.
        Newer: what stands there is a document that this version must not touch.
        Damaged: what stands there is none, and cannot be moved aside.
    """
    attempt, aside = _first_attempt(change), None
    for tried in range(TRIES):
        try:
            mark = await store.write(attempt.change, limit=limit)
        except (Conflict, Damaged):
            if tried > 1:  # meet again at different moments
                await pause(random.uniform(0, min(LONGEST_PAUSE, 0.001 * 2**tried)))  # noqa: S311  # no secret
            strict = behind_others and change.base is not None and aside is None
            attempt, moved = await _next_attempt(store, change, known, strict=strict)
            aside = moved or aside
        else:
            final = attempt.change
            return Committed(mark, final.head, final.last_active, attempt.start, attempt.lines, aside)
    raise Unavailable(f"session {id_of(change.session_id)!r} is written by too many at once; save it again")


def _first_attempt(change: Change) -> _Attempt:
    if change.history is not None:
        return _Attempt(change, 0, change.history)
    return _Attempt(change, change.base.total if change.base else 0, change.added)


async def _next_attempt(
    store: Store, change: Change, known: Sequence[bytes], *, strict: bool
) -> tuple[_Attempt, str | None]:
    """The change on top of what is there now; where a damaged document is that was moved aside for it."""
    try:
        return await _rebase(store, change, known, strict=strict), None
    except Damaged:
        try:
            raw = await store.raw(change.session_id)
        except Unavailable:
            return _first_attempt(change), None
    try:
        return await _rebase(store, change, known, strict=strict), None
    except Damaged as error:  # these very bytes, if they are still there
        return _first_attempt(change), await _set_aside(store, change.session_id, raw, error)


async def _set_aside(store: Store, session_id: str, raw: bytes | None, error: Damaged) -> str | None:
    try:
        where = await store.set_aside(session_id, raw) if raw is not None else None
    except Misconfigured:
        raise error from None
    except Unavailable:
        return None
    if where is not None:
        log.warning("session %s was damaged; what was stored is kept as %s", shown(session_id), where)
    return where


async def _rebase(store: Store, change: Change, known: Sequence[bytes], *, strict: bool) -> _Attempt:
    base = change.base
    # The turn before our base's end is read too: if it is not the one that we know there, the store has lost
    # turns since (it was flushed, or is an old copy) and was written again by others.
    seam = max(base.total - 1, 0) if base else 0
    try:
        current = await _read(store, change.session_id, after=seam)
        if current is None and not strict:
            return _anew(change, known)
        if current is None:
            raise Conflict(change.session_id, "absent")
        decode_session(id_of(change.session_id), current)  # what this version must not touch is not merged with
        if base is not None and _goes_on(current, base, seam, known):
            return _after_others(change, current.cut(None, base.total - seam), base.total)
        if strict:
            raise Conflict(change.session_id, "changed")
        _refuse_erased(change, current)
        if current.start:
            current = await _read(store, change.session_id)
    except Unavailable:  # then the change itself is what is to be kept
        return _first_attempt(change)
    return _over(change, current, known) if current else _anew(change, known)


async def _read(store: Store, session_id: str, after: int | None = None) -> Stored | None:
    """What the store itself holds, from a turn on.

    Raises:
        Unavailable: it is away. What this machine knows of it may be the last turns only, and a history that was
            merged with these would be written over the whole one.
    """
    current = await store.read(session_id, after=after, touch=False)
    if current is not None and current.behind:
        raise Unavailable("only what is known on this machine can be read now")
    return current


def _goes_on(current: Stored, base: Mark, seam: int, known: Sequence[bytes]) -> bool:
    """Whether the stored history begins with the one that we know."""
    if current.foreign or current.mark.epoch != base.epoch or current.mark.total < base.total:
        return False
    return base.total == seam or not known or not missing(known[-1:], current.lines[:1])


def _refuse_erased(change: Change, current: Stored) -> None:
    """Keep what nobody can read out of a session that was begun after the one that it is for was deleted.

    Raises:
        Deleted: that was so: they begin at different moments, and no key has sealed something in both.
    """
    if change.base is None or change.base.epoch == current.mark.epoch:
        return
    ours, theirs = decode(change.head), decode(current.head)
    begun = [head.get("metadata", {}).get("created_at") for head in (ours, theirs)]
    keys = [keys_in(head) for head in (ours, theirs)]
    if begun[0] != begun[1] and all(keys) and keys[0].isdisjoint(keys[1]):
        raise Deleted("the session was deleted, and another one was begun under its id")


def _anew(change: Change, known: Sequence[bytes]) -> _Attempt:
    """The session is gone from the store (expired, flushed): write all that we know of it."""
    lines = [*known[:], *change.added] if change.history is None else change.history
    epoch = change.base.epoch if change.base and change.history is None else None
    return _Attempt(replace(change, base=None, history=lines, version=new_version(), epoch=epoch), 0, lines)


def _after_others(change: Change, current: Stored, start: int) -> _Attempt:
    """Others only added turns since: ours go behind theirs."""
    if change.history is None:
        added = missing(change.added, current.lines)
        return _Attempt(_based_on(current, change, added, None), start, [*current.lines, *added])
    old = change.history[: len(change.history) - len(change.added)]
    history = [*old, *missing(current.lines, change.history), *change.added]
    return _Attempt(_based_on(current, change, change.added, history), 0, history)


def _over(change: Change, current: Stored, known: Sequence[bytes]) -> _Attempt:
    """The stored history is another one than we know.

    If its earlier turns were rewritten on purpose, that stands, and only our new turns go to its end. If it
    lacks turns that were there (the epoch is the same), they come back to their places.
    """
    there = list(current.lines)
    if change.history is not None:
        lines = [*change.history, *missing(there, change.history)]
        return _Attempt(_based_on(current, change, change.added, lines), 0, lines)
    start, same = _common_beginning(change, current, there, known)
    rest = there[start:]
    if change.base is not None and change.base.epoch != current.mark.epoch:
        lines = interleave(rest, change.added)
    else:
        lines = interleave(put_back(rest, known[same:]), change.added)
    if current.foreign or lines[: len(rest)] != rest:
        return _Attempt(_based_on(current, change, change.added, [*there[:start], *lines]), start, lines)
    return _Attempt(_based_on(current, change, lines[len(rest) :], None), start, lines)


def _common_beginning(
    change: Change, current: Stored, there: Sequence[bytes], known: Sequence[bytes]
) -> tuple[int, int]:
    """How many of the first turns are the same in the stored history and in ours, and how many of these we know."""
    base = change.base
    if base is None or base.epoch != current.mark.epoch or current.foreign:
        return 0, 0
    first = max(base.total - len(known), 0)
    same = common_beginning(there[first:], [*known[:]])
    return (first + same, same) if same else (0, 0)


def _based_on(current: Stored, change: Change, added: Sequence[bytes], history: Sequence[bytes] | None) -> Change:
    return replace(
        change,
        base=current.mark,
        base_head=current.head,
        head=merge_heads(_common_head(change, current), change.head, current.head),
        last_active=later(change.last_active, current.last_active),
        added=added,
        history=history,
        version=new_version(),
        epoch=current.mark.epoch if change.history is None and not current.foreign else None,
    )


def _common_head(change: Change, current: Stored) -> bytes | None:
    """The head that ours and the stored one both go back to.

    None where the store was restored from before our base: then what it has otherwise is older, not a change.
    """
    base = change.base
    if base is None or base.pending or base.epoch != current.mark.epoch:
        return change.base_head
    return change.base_head if current.mark.revision >= base.revision else None
