"""A short run of the chaos suite; the long one is `make chaos`."""

from pathlib import Path

import pytest

from chaos.faults import plan
from chaos.ledger import Answer, Intent, Ledger, Load, Note, Raised, notes_in
from chaos.stopwatch import Wait
from chaos.suite import run

SEED = 7
TURNS = 600
FAULTS = 14  # one of each kind


@pytest.mark.usefixtures("redis_server")  # the suite starts its own; this one reports where there is none
async def test_nothing_is_lost_doubled_or_reordered(tmp_path: Path) -> None:
    """Whatever happens to Redis, the network and the writers, what was accepted is there once, in order.

    Figures about time are left to the long run: here other tests share the processors.
    """
    result = await run(tmp_path, SEED, turns=TURNS, faults=FAULTS, pending=300, pause=0.15)
    assert not result.missed(time=False), "\n".join([str(result), *result.cases])
    assert set(result.faults.values()) == {1}


def test_a_seed_stands_for_one_plan() -> None:
    """The same seed gives the same faults, another one gives others."""
    assert plan(1, 200) == plan(1, 200)
    assert plan(1, 200) != plan(2, 200)
    assert len({fault.kind for fault in plan(1, 200)}) == FAULTS


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A later process goes on in the file of one that was killed."""
    notes: list[Note] = [
        Intent("session", 1, "turn_1", "digest", context=True),
        Answer("turn_1", "stored", Wait(1.5, 0.5, 0.25)),
        Load("session", "absent", Wait(1.5), "it was there"),
        Raised("save", "OSError()"),
    ]
    path = tmp_path / "writer.jsonl"
    for note in notes:
        Ledger(path).note(note)
    assert list(notes_in(path)) == notes
