"""What this machine makes of what the store had last, and of the work that waits on top of it."""

from __future__ import annotations

from agentic_flywheel.resilience.knowledge import after, pending_mark
from agentic_flywheel.stores import Change, Stored
from tests.stores.sessions import creation, following, lines


def changes(count: int) -> list[Change]:
    """A session's creation, and changes of one turn each that follow each other."""
    made = [creation("s", 0)]
    for number in range(1, count):
        made.append(following(made[-1], pending_mark(made[-1]), number))
    return made


def known_after(stored: Stored | None, waiting: list[Change]) -> Stored:
    for change in waiting:
        stored = after(stored, change)
    assert stored is not None
    return stored


def test_turns_that_the_store_has_by_now_are_there_once() -> None:
    """Work that was read as waiting and is stored by the time that the store's state is read counts once."""
    made = changes(6)
    whole = known_after(None, made)
    for first in range(6):
        for end in range(first, 7):
            stored = known_after(None, made[:end]) if end else None
            if first == 0 or stored is not None:
                assert known_after(stored, made[first:]).lines == whole.lines == lines(*range(6))
