"""A store with a deadline and a circuit breaker answers in time, or says at once that it cannot."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from agentic_flywheel.errors import Conflict, Misconfigured, TooLarge, Unavailable
from agentic_flywheel.resilience import Breaker, GuardedStore
from agentic_flywheel.stores.deadline import within
from agentic_flywheel.stores.redis_store import RedisStore
from tests.resilience.outage import Outage, until
from tests.stores.sessions import LIMIT, MOMENT, create, creation, following, found, lines
from tests.support.servers import HOST, free_port

BUDGET = 0.1
SEVERAL_TIMES = 10 * BUDGET  # a bound that a busy machine keeps, and a client's own time-outs do not


@pytest.fixture
async def store(outage: Outage) -> AsyncIterator[GuardedStore]:
    made = GuardedStore(RedisStore(outage.proxy.url), Breaker(), budget=BUDGET)
    yield made
    await made.close()


async def fails_soon(store: GuardedStore) -> str:
    """What the store says, which must not take it longer than several budgets."""
    start = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await create(store)
    assert time.monotonic() - start < SEVERAL_TIMES
    return str(caught.value)


async def open_breaker(store: GuardedStore) -> None:
    while store.breaker.admits:
        await fails_soon(store)


async def until_it_serves(store: GuardedStore) -> None:
    async def serves() -> bool:
        try:
            await store.check()
        except Unavailable:
            return False
        return True

    await until(serves)


async def test_a_healthy_store_is_as_without_the_guard(store: GuardedStore) -> None:
    """Answers of a healthy store come through as they are, and so do its refusals, which are no failures."""
    change, mark = await create(store, "s", 1)
    for _ in range(5):
        with pytest.raises(Conflict):
            await create(store, "s", 2)
        with pytest.raises(TooLarge):
            await store.write(following(change, mark, added=[b'"' + b"x" * 5000 + b'"']), limit=1000)
    await store.write(following(change, mark, 2), limit=LIMIT)
    assert list((await found(store)).lines) == lines(1, 2)
    assert (store.breaker.state, store.state) == ("closed", "available")


async def test_a_refused_port() -> None:
    """A port that nobody listens on is told at once."""
    store = GuardedStore(RedisStore(f"redis://{HOST}:{free_port()}"), Breaker(), budget=BUDGET)
    assert "cannot be reached" in await fails_soon(store)
    await store.close()


async def test_a_server_that_never_answers(store: GuardedStore, outage: Outage) -> None:
    """A server that accepts and never answers costs a caller its budget, with or without a connection before."""
    outage.proxy.blackhole()
    assert "no answer came in time" in await fails_soon(store)
    await outage.proxy.pass_through()
    await until_it_serves(store)
    outage.proxy.blackhole()
    assert "no answer came in time" in await fails_soon(store)


async def test_slow_answers(store: GuardedStore, outage: Outage) -> None:
    """An answer within the budget is an answer; one after it is none, and the write may have been applied."""
    await create(store, "s", 1)
    outage.proxy.delay(BUDGET / 5)
    assert list((await found(store)).lines) == lines(1)
    outage.proxy.delay(5 * BUDGET)
    assert "may have been applied" in await fails_soon(store)


async def test_the_budget_of_the_operation_counts(store: GuardedStore, outage: Outage) -> None:
    """Several calls of one operation share its budget: when it is used up, none is sent any more."""
    outage.proxy.delay(5 * BUDGET)
    start = time.monotonic()
    with within(BUDGET):
        for _ in range(5):
            with pytest.raises(Unavailable):
                await store.read("s")
    assert time.monotonic() - start < SEVERAL_TIMES


async def test_a_reserve_is_left_to_the_caller(outage: Outage) -> None:
    """A call is given up so much before the deadline, and is not begun when only the reserve is left."""
    store = GuardedStore(RedisStore(outage.proxy.url), Breaker(), budget=60, reserve=59.9)
    outage.proxy.blackhole()
    with within(60) as deadline, pytest.raises(Unavailable):
        await store.read("s")
    assert deadline.remaining() > 50
    with within(59), pytest.raises(Unavailable, match="the time is up"):
        await store.read("s")
    await store.close()


async def test_start_again_moves_the_deadline(store: GuardedStore, outage: Outage) -> None:
    """A deadline that is started again while a call is under way gives it the whole time once more."""
    await create(store, "s", 1)
    outage.proxy.delay(1.5 * BUDGET)
    with within(BUDGET) as deadline:
        reading = asyncio.create_task(store.read("s"))
        await asyncio.sleep(BUDGET * 0.7)  # not to wait for something: so much of the budget is used up
        deadline.start_again()
        assert await reading is not None


async def test_an_open_breaker_turns_callers_away(store: GuardedStore, outage: Outage) -> None:
    """After a few failures callers are turned away without a wait, with the reason, and nothing is sent."""
    await create(store, "s", 1)
    outage.proxy.blackhole()
    await open_breaker(store)
    start = time.monotonic()
    for _ in range(1000):
        with pytest.raises(Unavailable, match="is not asked: no answer came in time"):
            await store.read("s")
    assert time.monotonic() - start < 1000 * BUDGET / 10
    assert store.state == "unavailable"


@pytest.mark.parametrize("trouble", ["killed", "blackhole", "refused", "stopped"])
async def test_it_recovers_by_itself(store: GuardedStore, outage: Outage, trouble: str) -> None:
    """A store that is back is used again without a restart: callers who are turned away have it probed."""
    await create(store, "s", 1)
    match trouble:
        case "killed":
            outage.server.kill()
        case "blackhole":
            outage.proxy.blackhole()
        case "refused":
            outage.proxy.refuse()
            outage.proxy.reset()
        case _:
            outage.server.pause()
    await open_breaker(store)
    match trouble:
        case "killed":
            outage.server.restart()
        case "stopped":
            outage.server.resume()
        case _:
            await outage.proxy.pass_through()
    await until_it_serves(store)
    assert list((await found(store)).lines) == lines(1)
    assert (store.breaker.state, store.state, store.last_error) == ("closed", "available", None)


async def test_cancellation_is_never_swallowed(store: GuardedStore, outage: Outage) -> None:
    """A caller who is cancelled is let go, at any moment of the call, and that is no failure of the store."""
    await create(store, "s", 1)
    outage.proxy.delay(BUDGET / 2)
    for steps in range(30):
        caller = asyncio.create_task(store.read("s"))
        for _ in range(steps):
            await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    assert store.breaker.state == "closed"
    outage.proxy.delay(0)
    assert await store.read("s") is not None


async def test_a_probe_that_is_cancelled_is_no_answer(store: GuardedStore, outage: Outage) -> None:
    """A probe that is cancelled leaves the breaker open, and another one closes it."""
    outage.proxy.blackhole()
    await open_breaker(store)

    async def is_due() -> bool:
        return store.breaker.until_probe() == 0

    await until(is_due)
    probe = asyncio.create_task(store.probe())
    while store.breaker.state != "half-open":  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert store.breaker.until_probe() > 0
    await outage.proxy.pass_through()
    await until(store.probe)


async def test_many_callers_log_one_line(
    store: GuardedStore, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """However many calls fail at once, a change of state is one line."""
    caplog.set_level(logging.INFO, "agentic_flywheel")
    outage.proxy.blackhole()
    for _ in range(2):
        await asyncio.gather(*(create(store, f"s{n}") for n in range(50)), return_exceptions=True)
    await outage.proxy.pass_through()
    await until_it_serves(store)
    states = [record.getMessage().split()[1] for record in caplog.records]
    assert states == ["state=unavailable", "state=available"]


async def test_what_is_misconfigured_stays_told_apart(outage: Outage) -> None:
    """A store that refuses us until a setting is changed says so also while it is not asked."""
    await outage.raw.config_set("requirepass", "secret")
    store = GuardedStore(RedisStore(outage.server.url), Breaker(), budget=BUDGET)
    for _ in range(10):
        with pytest.raises(Misconfigured, match="password"):
            await store.read("s")
    assert not store.breaker.admits
    await store.close()


async def test_a_server_that_takes_no_writes_is_read(store: GuardedStore, outage: Outage) -> None:
    """A server out of memory is read on; that state ends with the trouble, and a probe leaves nothing."""
    change, mark = await create(store, "s", 1)
    await outage.raw.config_set("maxmemory", 1)
    for _ in range(10):
        with pytest.raises(Unavailable, match="out of memory"):
            await store.write(following(change, mark, 2), limit=LIMIT)
        assert list((await found(store)).lines) == lines(1)
    assert (store.breaker.state, store.state) == ("closed", "read-only")
    assert not await store.probe()
    await outage.raw.config_set("maxmemory", 0)
    assert await store.probe()
    assert store.state == "available"
    assert [key async for key in outage.raw.scan_iter("*claim*")] == []
    await store.write(following(change, mark, 2), limit=LIMIT)


async def test_a_refusal_is_no_change_of_what_is_stored(store: GuardedStore, outage: Outage) -> None:
    """While the breaker is open nothing gets through, deletions neither."""
    await create(store, "s", 1)
    outage.server.kill()
    await open_breaker(store)
    with pytest.raises(Unavailable):
        await store.delete("s", deleted_at=MOMENT, ttl=100)
    with pytest.raises(Unavailable):
        await store.write(creation("t", 1), limit=LIMIT)
    outage.server.restart()
    await until_it_serves(store)
    assert await store.read("s") is not None
    assert await store.read("t") is None
