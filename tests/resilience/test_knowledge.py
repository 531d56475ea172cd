"""What this machine makes of what the store had last, and of the work that waits on top of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agentic_flywheel.resilience import Journal
from agentic_flywheel.resilience.journal_file import Deletion, Entry, ReadAhead
from agentic_flywheel.resilience.knowledge import LocalKnowledge, Recalled, after, pending_mark
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


def told_by(recalled: Recalled) -> object:
    """All but versions: what follows nothing gets one of its own."""
    stored = recalled.stored
    return recalled.waits, stored and (stored.head, stored.start, list(stored.lines), stored.mark.total)


async def read_ahead(journal: Journal, knowledge: LocalKnowledge) -> ReadAhead:
    """What is read with a claim, which is given up again."""
    ahead = knowledge.to_read_ahead("s")
    assert not (await journal.claim("s", "turn", b"{}", seconds=5, reads=ahead)).stands
    await journal.release("s", "turn")
    assert ahead.waiting is not None
    return ahead


@pytest.mark.parametrize("seed", range(10))
async def test_what_was_kept_of_a_recall_changes_nothing(tmp_path: Path, seed: int) -> None:
    """Whatever comes and goes in between, one who kept what came of the work recalls what one does who did not."""
    rng, journal = random.Random(seed), Journal(tmp_path / "journal.db")
    keeps, made = LocalKnowledge(journal, turns=5), changes(40)
    stored: Stored | None = None
    for number, change in enumerate(made):
        match rng.randrange(6):
            case 0 if entries := await journal.oldest(3):  # another process replays some
                await journal.remove(entries)
            case 1:  # the store is seen to have it
                stored = after(stored, change)
                keeps.saw("s", stored)
            case 2 if number > 20:
                await journal.append("s", Deletion("s", "2025-01-01T00:00:00Z", 5))
        await journal.append("s", change)
        afresh = LocalKnowledge(journal, turns=5)
        afresh._states = keeps._states
        ahead = await read_ahead(journal, keeps) if rng.randrange(2) else None
        if rng.randrange(3) == 0:
            await keeps.recall("s")  # another caller's comes first; then what was read ahead fits no more
        assert told_by(await keeps.recall("s", ahead)) == told_by(await afresh.recall("s"))
    await keeps.close()
    await journal.close()


async def test_a_recall_costs_the_same_however_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what waits only that is looked at which came since the last recall."""
    journal, looked_at = Journal(tmp_path / "journal.db"), []
    knowledge = LocalKnowledge(journal)
    work = Entry.work.fget  # type: ignore[attr-defined]  # it is a property

    def looking(entry: Entry) -> object:
        looked_at.append(entry.place)
        return work(entry)

    monkeypatch.setattr(Entry, "work", property(looking))
    for change in changes(30):
        await journal.append("s", change)
        looked_at.clear()
        recalled = await knowledge.recall("s")
        assert len(looked_at) == 1
    assert recalled.stored is not None
    assert recalled.stored.lines == lines(*range(30))
    await knowledge.close()
    await journal.close()
