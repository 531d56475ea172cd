"""Who is next in a session, on one machine: while Redis answers, it says so; without it the processes agree."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from agentic_flywheel.codec import encode_note
from agentic_flywheel.manager.turns import CLAIM_SECONDS
from agentic_flywheel.resilience import Journal
from agentic_flywheel.resilience.journal import LONG_LOG
from agentic_flywheel.resilience.journal_file import prepare
from agentic_flywheel.resilience.local_claims import NOTED_AFTER, LocalClaims
from agentic_flywheel.session import InFlight
from agentic_flywheel.stores import Claim, sqlite_claims
from agentic_flywheel.stores import redis_scripts as scripts
from agentic_flywheel.stores.sqlite_file import stamp
from tests.resilience.outage import (
    Outage,
    conversation,
    guard_of,
    journalled,
    save,
    until,
    until_open,
    until_replayed,
)

NOTE = b'{"question":"why?"}'


def turn(turn_id: str) -> InFlight:
    return InFlight(turn_id, "why?", "flow")


async def test_a_short_turn_costs_nothing_here(outage: Outage) -> None:
    """While Redis answers, a turn that is over at once is not noted on this machine."""
    manager = outage.open()
    journal = journalled(manager).journal
    short = 0
    for number in range(100):
        one, before = turn(f"t{number}"), stamp(f"{journal.path}-wal")
        assert await manager.turns.claim("s", one) is None
        claimed_at = time.monotonic()
        await manager.turns.release("s", one)
        if time.monotonic() - claimed_at < NOTED_AFTER:  # a busy machine may have made it a long one
            short += 1
            assert stamp(f"{journal.path}-wal") == before
    assert short > 10


async def test_a_longer_turn_is_noted(outage: Outage) -> None:
    """One that takes longer is known to the processes of this machine, until it is over."""
    manager = outage.open()
    journal, one = journalled(manager).journal, turn("a")
    await manager.turns.claim("s", one)

    async def is_noted() -> bool:
        return journal.exists and await journal.claimed("s") is not None

    await until(is_noted)
    await manager.turns.release("s", one)
    assert await journal.claimed("s") is None
    assert await manager.store.claimed("s") is None


async def test_redis_dies_just_after_it_granted_a_claim(outage: Outage) -> None:
    """The other processes of the machine do not take the session, though it was not noted yet; nor later."""
    first, second, third = outage.open(), outage.open(), outage.open()
    one = turn("a")
    await second.open()  # it knows Redis, and the third one does not
    assert await first.turns.claim("s", one) is None
    outage.server.kill()
    for other in (second, third, second):
        found = await other.turns.claim("s", turn("b"))
        assert found is not None
        assert (found.turn.turn_id, found.running) == ("a", True)
    await first.turns.release("s", one)
    assert await second.turns.claim("s", turn("b")) is None


async def test_a_claim_of_an_outage_is_heeded_when_redis_is_back(outage: Outage) -> None:
    """A turn that was begun without Redis has its session still, also for those who noticed no outage."""
    first, second = outage.open(), outage.open()
    other = turn("other")
    await second.turns.claim("else", other)
    await second.turns.release("else", other)
    outage.server.kill()
    await until_open(first)
    one = turn("a")
    assert await first.turns.claim("s", one) is None
    outage.server.restart()
    await until_replayed(first)
    for each in (second, outage.open()):
        found = await each.turns.claim("s", turn("b"))
        assert found is not None
        assert (found.turn.turn_id, found.running) == ("a", True)
    await first.turns.release("s", one)
    assert await second.turns.claim("s", turn("b")) is None


async def test_a_claim_that_is_renewed_without_redis(outage: Outage) -> None:
    """A claim that Redis granted and that is renewed while Redis is away is nobody else's meanwhile."""
    first, second = outage.open(), outage.open()
    one = turn("a")
    await first.turns.claim("s", one)
    outage.server.kill()
    assert await first.turns.claim("s", one) is None, "it is its own"
    found = await second.turns.claim("s", turn("b"))
    assert found is not None
    assert found.running


async def test_a_claim_that_redis_granted_unheard(outage: Outage) -> None:
    """A turn that was begun without Redis keeps its session on this machine, whoever has a claim in Redis."""
    first, second = outage.open(), outage.open()
    outage.server.kill()
    await until_open(first)
    one, other = turn("a"), turn("b")
    assert await first.turns.claim("s", one) is None
    outage.server.restart()
    await until_replayed(first)
    await guard_of(second).claim("s", other.holder, NOTE, seconds=CLAIM_SECONDS)
    await first.turns.claim("s", one)  # to renew it
    found = await second.turns.claim("s", other)
    assert found is not None
    assert (found.turn.turn_id, found.running) == ("a", True)
    await first.turns.release("s", one)
    assert await second.turns.claim("s", other) is None


async def test_the_clock_of_redis_went_back(outage: Outage) -> None:
    """A turn that has its session is stored, though after a failover its claim seems older than an earlier one."""
    manager = outage.open()
    session = conversation("before", id="s")
    await save(manager, session)
    await manager.store.fence("s", round((time.time() + 60) * 1_000_000))
    one = turn("a")
    await manager.turns.claim("s", one)

    async def is_noted() -> bool:
        return await journalled(manager).journal.claimed("s") is not None

    await until(is_noted)
    session.record(id="a", question="why?", response="so")
    assert (await manager.save_session(session, under=one)).outcome == "stored"


async def test_claimed_here_while_redis_is_slow(outage: Outage) -> None:
    """A turn that goes on without Redis is heeded by one whose claim Redis is about to grant."""
    first, second = outage.open(), outage.open()
    one, other = turn("a"), turn("b")
    await second.turns.claim("else", other)
    await second.turns.release("else", other)
    sent = len(outage.proxy.requests)
    outage.proxy.delay(0.1)
    asking = asyncio.create_task(second.turns.claim("s", other))

    async def is_asked() -> bool:
        return len(outage.proxy.requests) > sent

    await until(is_asked)
    note = encode_note(one, first.forms.open)
    await journalled(first).claims.claim("s", one.holder, note, seconds=CLAIM_SECONDS)
    found = await asking
    assert found is not None
    assert (found.turn.turn_id, found.running) == ("a", True)
    await outage.proxy.pass_through()
    assert not await outage.raw.exists("agentic_flywheel:claim:s")


async def test_an_unheard_claim_is_given_up_when_redis_is_back(outage: Outage) -> None:
    """A claim that Redis granted while its answer was lost is not left there by a turn that ends without Redis."""
    manager = outage.open()
    one = turn("a")
    await manager.load("s")  # it has the scripts from now on
    outage.proxy.cut_answer(2, of=scripts.CLAIM.digest.encode())
    assert await manager.turns.claim("s", one) is None
    assert await outage.raw.exists("agentic_flywheel:claim:s")
    outage.proxy.refuse()
    outage.proxy.reset()
    await manager.turns.release("s", one)
    assert await outage.raw.exists("agentic_flywheel:claim:s")
    await outage.proxy.pass_through()

    async def is_free() -> bool:
        return not await outage.raw.exists("agentic_flywheel:claim:s")

    await until(is_free)


async def test_claimed_while_another_process_opens_the_new_file(tmp_path: Path) -> None:
    """A claim stays where two processes make the journal at the same moment: the later one finds it made."""
    path = tmp_path / "journal.db"

    def claim_meanwhile(statement: str) -> None:
        if statement.startswith("BEGIN"):
            late.set_trace_callback(None)
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                prepare(db, str(path))
                sqlite_claims.claim(db, Claim("a", NOTE, CLAIM_SECONDS), "s", None, 0.0)

    with closing(sqlite3.connect(path, isolation_level=None)) as late:
        late.set_trace_callback(claim_meanwhile)
        prepare(late, str(path))
        found = sqlite_claims.claimed(late, "s", 0.0)
    assert found is not None
    assert found.turn_id == "a"


async def test_the_log_does_not_grow_without_end(tmp_path: Path) -> None:
    """Claims that come and go leave little behind on disk."""
    journal = Journal(tmp_path / "journal.db")
    claims = LocalClaims(journal)
    log = tmp_path / "journal.db-wal"
    sizes = []

    async def turns(session_id: str) -> None:
        for number in range(100):
            await claims.claim(session_id, f"t{number}", NOTE, seconds=CLAIM_SECONDS)
            await asyncio.sleep(0.02)
            await claims.release(session_id, f"t{number}")
            sizes.append(log.stat().st_size)

    await asyncio.gather(*(turns(f"s{number}") for number in range(40)))
    await claims.close()
    await journal.close()
    assert max(sizes) < 3 * LONG_LOG
