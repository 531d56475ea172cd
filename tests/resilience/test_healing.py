"""A Redis that lost what it had gets back what we know of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from tests.resilience.outage import (
    Outage,
    ask,
    asked_in,
    conversation,
    journalled,
    outage_on,
    save,
    until_replayed,
)
from tests.support.values import questions

KEY = "agentic_flywheel:session:s"


@dataclass
class Counted:
    """How many Python functions were called."""

    calls: int = 0

    def note(self, _frame: object, event: str, _argument: object) -> None:
        self.calls += event == "call"


@contextmanager
def calls_counted() -> Iterator[Counted]:
    counted = Counted()
    sys.setprofile(counted.note)
    try:
        yield counted
    finally:
        sys.setprofile(None)


async def held_by(outage: Outage, count: int) -> list[SessionManager]:
    return [outage.open() for _ in range(count)]


async def test_flushed_under_a_held_session(outage: Outage) -> None:
    """A session that somebody holds is back whole after a FLUSHALL, with its next turn, in order and once."""
    manager = outage.open()
    session = conversation(*range(200), id="s", context={"topic": "x"})
    await save(manager, session)
    await outage.raw.flushall()
    await save(manager, session, 200)
    await until_replayed(manager)  # a busy machine may have journalled it
    document = await outage.document("s")
    assert document is not None
    assert (questions(document), document.context) == (list(range(201)), {"topic": "x"})


async def test_flushed_under_two_holders(outage: Outage) -> None:
    """Two holders of one session bring back together what each of them knows, whoever saves first."""
    one, two = await held_by(outage, 2)
    await save(one, conversation(0, id="s"))
    first, second = await one.require("s"), await two.require("s")
    for number in range(1, 10):
        await save(*((one, first) if number % 2 else (two, second)), number)
    await one.save_session(first)
    await two.save_session(second)
    await outage.raw.flushall()
    await save(two, second, "b")
    await save(one, first, "a")
    await save(two, second, "c")
    assert await asked_in(outage, "s") == [*range(10), "b", "a", "c"]


async def test_an_older_copy(outage: Outage) -> None:
    """A session that was restored from an older copy gets the turns that it lacks, each once and in order."""
    one, two = await held_by(outage, 2)
    first = conversation(0, 1, id="s")
    await save(one, first)
    copy = await outage.raw.dump(KEY)
    assert copy is not None
    second = await two.require("s")
    await save(two, second, 2)
    await save(one, first, 3)
    await save(two, second, 4)
    await outage.raw.restore(KEY, 0, copy, replace=True)
    await save(one, first, "one")
    await save(two, second, "two")
    asked = await asked_in(outage, "s")
    assert sorted(map(str, asked)) == sorted(map(str, [0, 1, 2, 3, 4, "one", "two"]))
    assert [question for question in asked if isinstance(question, int)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("loss", ["older copy", "older copy, written to", "flushed"])
async def test_a_long_session_is_mended_without_a_look_at_each_turn(outage: Outage, loss: str) -> None:
    """That would hold up all callers of a thread for longer than a save may take."""
    short, long = [await _calls_to_mend(outage, length, loss) for length in (2_000, 5_000)]
    assert long < 2 * short, "Python functions, so much more work has the long one"


async def _calls_to_mend(outage: Outage, length: int, loss: str) -> int:
    """How many Python functions a save calls that finds what Redis lost of a session."""
    manager = outage.open(budget_ms=10_000)
    session = conversation(id=f"of-{length}")
    for first in range(0, length, 100):
        await save(manager, session, *range(first, first + 100))
    await _lose_a_turn(outage, manager, session, loss)
    with calls_counted() as counted:
        await manager.save_session(ask(session, "ours"))
    theirs = ["theirs"] if loss == "older copy, written to" else []
    assert await asked_in(outage, session.id) == [*range(length), "lost", *theirs, "ours"]
    return counted.calls


async def _lose_a_turn(outage: Outage, manager: SessionManager, session: UniversalSession, loss: str) -> None:
    key = f"agentic_flywheel:session:{session.id}"
    copy = await outage.raw.get(key)
    assert copy is not None
    await save(manager, session, "lost")
    if loss == "flushed":
        await outage.raw.flushall()
        return
    await outage.raw.set(key, copy)
    if loss == "older copy, written to":
        other = outage.open(budget_ms=10_000)
        await save(other, await other.require(session.id), "theirs")


async def test_flushed_during_an_outage(outage: Outage) -> None:
    """A Redis that comes back empty gets what waits, and what is known here of the turns before it."""
    manager = outage.open()
    session = conversation(*range(60), id="s")
    await save(manager, session)
    outage.proxy.refuse()
    outage.proxy.reset()
    await save(manager, session, 60)
    await outage.raw.flushall()
    await outage.proxy.pass_through()
    await until_replayed(manager)
    assert await asked_in(outage, "s") == list(range(10, 61)), "the last fifty, and the one that waited"
    await save(manager, session, 61)
    assert await asked_in(outage, "s") == list(range(62)), "its holder knows the rest"


async def test_flushed_and_the_process_restarted(outage: Outage) -> None:
    """What the journal and the local copies know of a session is back although nobody holds it any more."""
    manager = outage.open()
    session = conversation(*range(5), id="s")
    await save(manager, session)
    await journalled(manager).knowledge.write_down()
    outage.proxy.refuse()
    outage.proxy.reset()
    await save(manager, session, 5)
    await manager.close()
    await outage.raw.flushall()
    await outage.proxy.pass_through()
    await until_replayed(outage.open())
    assert await asked_in(outage, "s") == list(range(6))


async def test_turns_that_were_removed_stay_removed(outage: Outage) -> None:
    """What another machine knew of turns that were removed on purpose does not come back with its journal."""
    one = outage.open()
    async with outage_on(outage.server, outage.folder / "other") as machine:
        two = machine.open()
        await save(one, conversation(0, 1, 2, id="s"))
        theirs = await two.require("s")
        ours = await one.require("s")
        del ours.history[1]
        await save(one, ours)
        machine.proxy.refuse()
        machine.proxy.reset()
        await save(two, theirs, 3)
        await machine.proxy.pass_through()
        await until_replayed(two)
        assert await asked_in(outage, "s") == [0, 2, 3]


async def test_a_stand_in(outage: Outage) -> None:
    """A session that was begun because the stored one could not be read is merged with it."""
    one = outage.open()
    stored = conversation(1, 2, id="s", context={"theirs": 1}, current_flow_id="g")
    await save(one, stored)
    async with outage_on(outage.server, outage.folder / "other") as machine:
        two = machine.open()
        machine.proxy.blackhole()
        session = await two.require_or_stand_in("s", "other backend")
        session.context["ours"] = 2
        assert (await two.save_session(ask(session, 3))).outcome == "journalled"
        assert (await two.load("s")).behind
        await save(one, stored, 4)
        await machine.proxy.pass_through()
        await until_replayed(two)
        document = await outage.document("s")
        assert document is not None
        assert questions(document) == [1, 2, 4, 3]
        assert document.context == {"theirs": 1, "ours": 2}
        assert (document.backend, document.current_flow_id) == ("custom", "g")
        assert document.metadata["created_at"] == stored.metadata["created_at"]
