"""The rules of a write and of a read, for stores that decide in Python; Redis has them in its scripts."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Conflict, Deleted, Fenced, TooLarge
from ..session.times import seconds
from .base import Change, Claim, Mark
from .names import id_of


def next_mark(change: Change, found: Mark | None) -> Mark:
    """The state that a change makes of the state that was found.

    Raises:
        Conflict: it is not based on that state.
    """
    if change.base is None:
        if found is not None:
            raise Conflict(change.session_id, "present")
        return Mark(change.version, change.epoch or change.version, 1, len(new_lines(change)))
    if found is None:
        raise Conflict(change.session_id, "absent")
    if found.version != change.base.version:
        raise Conflict(change.session_id, "changed")
    if is_append(change):
        return Mark(change.version, found.epoch, found.revision + 1, found.total + len(change.added))
    return Mark(change.version, change.epoch or change.version, found.revision + 1, len(new_lines(change)))


def is_append(change: Change) -> bool:
    """Whether the turns that are stored stay as they are."""
    return change.base is not None and change.history is None


def new_lines(change: Change) -> Sequence[bytes]:
    """The lines that a change brings: those to append, or the whole history."""
    return change.added if change.history is None else change.history


def size_of(lines: Sequence[bytes]) -> int:
    """The bytes of the lines themselves."""
    return sum(len(line) for line in lines)


def refuse_deleted(change: Change, deleted_at: str | None) -> None:
    """Keep a late writer from bringing back what was deleted since its conversation began.

    Raises:
        Deleted: the change creates a session that was deleted at or after its ``created_at``.
    """
    if change.base is None and deleted_at is not None and seconds(deleted_at) >= seconds(change.created_at):
        raise Deleted(f"session {id_of(change.session_id)!r} was deleted at {deleted_at}")


def refuse_fenced(change: Change, fence: int) -> int:
    """Keep a turn whose claim has ended from writing after a later one; the fence that holds after the write.

    Raises:
        Fenced: the change was made under an earlier claim than the one whose ``fence`` is given.
    """
    if 0 < change.fence < fence:
        raise Fenced(change.session_id)
    return max(change.fence, fence)


def next_fence(found: Claim | None, turn_id: str, now: float) -> int:
    """The fence of a claim that is granted now, where another was found: microseconds since 1970, or one more."""
    if found is not None and found.turn_id == turn_id:
        return found.fence
    return max(int(now * 1_000_000), found.fence + 1 if found else 1)


def refuse_too_large(session_id: str, size: int, limit: int) -> None:
    """Hold the limit.

    Raises:
        TooLarge: the session would be over it; the message says how to go on.
    """
    if size > limit:
        raise too_large(session_id, size, limit)


def too_large(session_id: str, size: int, limit: int) -> TooLarge:
    """The refusal of a session that would have ``size`` bytes."""
    plain = id_of(session_id)
    return TooLarge(
        f"session {plain} would have {size:,} bytes; the limit is {limit:,}. Go on in a fork with its "
        f"last turns: fork_session({plain!r}, last=20)"
    )


def first_wanted(total: int, last: int | None, after: int | None) -> int:
    """The number of the first turn that a reader asks for; ``total`` if it asks for none."""
    first = min(after or 0, total)
    return first if last is None else max(first, total - last)


def readable(head: bytes, last_active: str | None, lines: Sequence[bytes]) -> bytes:
    """The one JSON document that a head and its turns stand for; what is damaged in it stays as it is."""
    start = b'{"metadata":{'
    if last_active is not None and head.startswith(start):
        rest = head.removeprefix(start)
        comma = b"" if rest.startswith(b"}") else b","
        head = start + b'"last_active":"%s"%s' % (last_active.encode(), comma) + rest
    return head.removesuffix(b"}") + b',"history":[\n' + b",\n".join(lines) + b"\n]}"
