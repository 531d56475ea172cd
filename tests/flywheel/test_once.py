"""A question is run once, however often it is sent; a turn that was cut off is told and not run again."""
# a test that looks at a file holds nobody up

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from agentic_flywheel import Flywheel, SessionManager, UniversalSession
from agentic_flywheel.codec import encode_note
from agentic_flywheel.errors import FlowFailed
from agentic_flywheel.flywheel.once import turn_id_for
from agentic_flywheel.manager.turns import CLAIM_SECONDS
from agentic_flywheel.resilience import Breaker
from agentic_flywheel.secrecy import PLAIN
from agentic_flywheel.session import InFlight
from agentic_flywheel.stores import redis_scripts as scripts
from tests.conftest import start_or_report
from tests.flywheel.asker import flywheel_at
from tests.resilience.outage import (
    Outage,
    guard_of,
    journalled,
    nobody_replays,
    outage_on,
    until,
    until_open,
    until_replayed,
)
from tests.stores.test_sqlite import ROOT
from tests.support.servers import Server
from tests.support.values import questions

PATIENCE = 60.0


@pytest.fixture
def server() -> Iterator[Server]:
    """A Redis for this test alone, which keeps all that it acknowledged."""
    with start_or_report("redis-server", "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.fixture
async def outage(server: Server, tmp_path: Path) -> AsyncIterator[Outage]:
    async with outage_on(server, tmp_path / "state") as made:
        yield made


class Askers:
    """Flywheels on one machine; one per process, or several."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.opened: list[Flywheel] = []
        self._waiting: set[str] = set()

    def open(self) -> Flywheel:
        flywheel = flywheel_at(self.url, self.folder)
        self.opened.append(flywheel)
        turns = flywheel.sessions.turns
        asks_the_same = turns.asks_the_same

        def noted(running: InFlight, turn: InFlight) -> bool:
            self._waiting.add(turn.holder)
            return asks_the_same(running, turn)

        turns.asks_the_same = noted  # type: ignore[method-assign, assignment]  # only listens
        return flywheel

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Another process that asks; see `asker`."""
        command = [sys.executable, "-m", "tests.flywheel.asker", self.url, str(self.folder), *arguments]
        return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)

    @property
    def runs(self) -> list[str]:
        """The questions that the flow was run with."""
        runs = self.folder / "runs"
        return runs.read_text().splitlines() if runs.exists() else []

    def go(self) -> None:
        (self.folder / "go").touch()

    async def begun(self, count: int = 1) -> None:
        async def enough() -> bool:
            return len(self.runs) >= count

        await until(enough)

    async def waiting(self, count: int) -> None:
        """Wait until so many turns have found another one running, and wait for it."""

        async def enough() -> bool:
            return len(self._waiting) >= count

        await until(enough)


@pytest.fixture(params=["redis", "sqlite"])
async def askers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Askers]:
    redis = request.param == "redis"
    url = request.getfixturevalue("server").url if redis else f"sqlite://{tmp_path}/sessions.db"
    made = Askers(url, tmp_path)
    yield made
    for flywheel in made.opened:
        await flywheel.sessions.close()


async def new_session(askers: Askers) -> str:
    session = UniversalSession(backend="custom")
    await askers.open().sessions.save_session(session)
    return session.id


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()


@pytest.mark.parametrize("how", ["one flywheel", "two flywheels"])
@pytest.mark.parametrize("key", ["key", None], ids=["same key", "same question"])
async def test_again_while_the_first_runs(askers: Askers, how: str, key: str | None) -> None:
    """A question that is sent again while it runs gets the answer of the first; the flow is run once."""
    session_id = await new_session(askers)
    first = askers.open()
    others = [first] * 3 if how == "one flywheel" else [askers.open() for _ in range(3)]
    asking = [asyncio.create_task(first.ask("why", session_id=session_id, request_key=key))]
    await askers.begun()
    asking += [asyncio.create_task(each.ask("why", session_id=session_id, request_key=key)) for each in others]
    await askers.waiting(3)
    askers.go()
    replies = await asyncio.gather(*asking)
    assert askers.runs == ["why"]
    assert [reply.repeated for reply in replies] == [False, True, True, True]
    assert len({(reply.turn_id, reply.text, reply.flow_id) for reply in replies}) == 1
    assert questions(await first.sessions.require(session_id)) == ["why"]


async def test_the_first_ends_while_the_flow_is_looked_up(askers: Askers) -> None:
    """A question that finds itself running gets that answer, also if it is there when the question's turn comes."""
    session_id = await new_session(askers)
    first, other = askers.open(), askers.open()
    askers.go()
    await other.ask("before", session_id=session_id)  # so that it takes the flow for known
    (askers.folder / "go").unlink()
    asking = asyncio.create_task(first.ask("why", session_id=session_id))
    await askers.begun(2)
    look_up = other.sessions.require_or_stand_in

    async def held_up(*arguments: Any, **options: Any) -> UniversalSession:
        askers.go()
        await asking
        return await look_up(*arguments, **options)

    other.sessions.require_or_stand_in = held_up  # type: ignore[method-assign]  # only takes its time
    again = await other.ask("why", session_id=session_id)
    assert (again.repeated, again.turn_id) == (True, (await asking).turn_id)
    assert askers.runs == ["before", "why"]


async def test_all_at_once(askers: Askers) -> None:
    """Of many requests of one key that are sent at the same moment one is run."""
    session_id = await new_session(askers)
    askers.go()
    flywheels = [askers.open() for _ in range(3)]
    replies = await asyncio.gather(
        *(flywheels[n % 3].ask("why", session_id=session_id, request_key="key") for n in range(12))
    )
    assert askers.runs == ["why"]
    assert sum(not reply.repeated for reply in replies) == 1


async def test_another_process(askers: Askers) -> None:
    """A request that another process is running is waited for, and answered by what that process recorded."""
    session_id = await new_session(askers)
    processes = [await askers.start(session_id, "why", "key") for _ in range(2)]
    await askers.begun()
    askers.go()
    said = [(await process.communicate())[0].decode().splitlines()[-1] for process in processes]
    assert sorted(said) == ["False answer to why", "True answer to why"]
    assert askers.runs == ["why"]


async def test_again_after_the_first(askers: Askers) -> None:
    """A key that was answered gets that answer, in its session only; a question without one is run again."""
    session_id, other_id = await new_session(askers), await new_session(askers)
    askers.go()
    first = await askers.open().ask("why", session_id=session_id, request_key="key")
    again = await askers.open().ask("why", session_id=session_id, request_key="key")
    assert (again.repeated, again.turn_id, again.text) == (True, first.turn_id, first.text)
    assert not (await askers.open().ask("why", session_id=other_id, request_key="key")).repeated
    assert not (await askers.open().ask("why", session_id=session_id)).repeated
    assert askers.runs == ["why"] * 3


async def test_different_questions(askers: Askers) -> None:
    """Different questions to one session are run one after another, and both are on record."""
    session_id = await new_session(askers)
    one, two = askers.open(), askers.open()
    first = asyncio.create_task(one.ask("one", session_id=session_id))
    await askers.begun()
    second = asyncio.create_task(two.ask("two", session_id=session_id))
    await askers.waiting(1)
    assert askers.runs == ["one"]
    askers.go()
    await asyncio.gather(first, second)
    assert askers.runs == ["one", "two"]
    assert questions(await one.sessions.require(session_id)) == ["one", "two"]


async def test_a_process_that_is_killed(askers: Askers) -> None:
    """A turn whose process is killed is told at once by another one, and a request of its key is not run again."""
    session_id = await new_session(askers)
    process = await askers.start(session_id, "why", "key")
    assert await line_of(process) == "begun"
    process.kill()
    await process.communicate()
    flywheel = askers.open()
    interrupted = (await flywheel.resume(session_id)).interrupted
    assert interrupted is not None
    assert "your last question 'why' was interrupted after" in str(interrupted)
    assert "in flow slow; not answered" in str(interrupted)
    askers.go()
    for _ in range(2):
        with pytest.raises(FlowFailed, match=r"was run before.*unknown"):
            await askers.open().ask("why", session_id=session_id, request_key="key")
    assert askers.runs == ["why"]
    reply = await flywheel.ask("why", session_id=session_id)
    assert not reply.repeated, "somebody asks anew"
    assert (await flywheel.resume(session_id)).interrupted is None
    statuses = [entry["status"] for entry in await flywheel.sessions.load_history(session_id, "slow")]
    assert statuses == ["unknown", "completed"]


async def test_a_question_that_waits_for_one_that_is_killed(askers: Askers) -> None:
    """Who waits for a process that is killed gets its turn, and the one that was cut off is on record."""
    session_id = await new_session(askers)
    process = await askers.start(session_id, "one")
    assert await line_of(process) == "begun"
    waiting = asyncio.create_task(askers.open().ask("two", session_id=session_id))
    process.kill()
    await process.communicate()
    askers.go()
    assert (await asyncio.wait_for(waiting, PATIENCE)).text == "answer to two"
    assert askers.runs == ["one", "two"]


async def test_nothing_is_claimed_when_the_answer_is_there(askers: Askers) -> None:
    """A session is free as soon as its question is answered, also one that took a while; so the next can begin."""
    session_id = await new_session(askers)
    flywheel, other = askers.open(), askers.open()
    asking = asyncio.create_task(flywheel.ask("one", session_id=session_id))
    await askers.begun()
    await asyncio.sleep(2.0)  # so that the claim was renewed
    assert await other.sessions.store.claimed(session_id) is not None
    askers.go()
    await asking
    assert await other.sessions.store.claimed(session_id) is None
    for number in range(20):
        each = (flywheel, other)[number % 2]
        assert (await each.ask(f"again {number}", session_id=session_id)).saved.outcome == "stored"
        assert await each.sessions.store.claimed(session_id) is None
    assert len(questions(await other.sessions.require(session_id))) == 21


async def test_a_caller_who_goes(askers: Askers) -> None:
    """A question whose caller goes frees its session at once, at whatever moment; nothing is left claimed."""
    session_id = await new_session(askers)
    flywheel = askers.open()
    for steps in range(0, 60, 3):
        asking = asyncio.create_task(flywheel.ask(f"why {steps}", session_id=session_id))
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    askers.go()
    found = (await flywheel.resume(session_id)).interrupted
    assert found is None or found.how == "cancelled"
    reply = await asyncio.wait_for(flywheel.ask("last", session_id=session_id), 4)
    assert reply.text == "answer to last"


@asynccontextmanager
async def run_here(manager: SessionManager, session_id: str, question: str) -> AsyncIterator[None]:
    """A turn that is claimed among the processes of this machine alone, and that ends on record."""
    turn = InFlight("turn", question, "slow")
    claims = journalled(manager).claims
    await claims.claim(session_id, turn.holder, encode_note(turn, PLAIN), seconds=CLAIM_SECONDS)
    yield
    session = await manager.require(session_id)
    session.record(id=turn.turn_id, question=question, response="so", flow_id="slow")
    await manager.save_session(session)
    await claims.release(session_id, turn.holder)


async def until_gone(outage: Outage, key: str) -> None:
    """Wait until Redis has no such key any more."""

    async def is_gone() -> bool:
        return not await outage.raw.exists(key)

    await until(is_gone)


class TestWhileRedisIsAway:
    @pytest.fixture
    async def askers(self, outage: Outage, tmp_path: Path) -> AsyncIterator[Askers]:
        made = Askers(outage.proxy.url, tmp_path)
        yield made
        for flywheel in made.opened:
            await flywheel.sessions.close()

    async def test_once(self, askers: Askers, outage: Outage) -> None:
        """A request that is sent again, while Redis is away or when it is back, to any process, is run once."""
        session_id = await new_session(askers)
        outage.server.kill()
        flywheel, other = askers.open(), askers.open()
        await until_open(flywheel.sessions)
        asking = asyncio.create_task(flywheel.ask("why", session_id=session_id, request_key="key"))
        await askers.begun()
        again = asyncio.create_task(other.ask("why", session_id=session_id, request_key="key"))
        await askers.waiting(1)
        askers.go()
        replies = await asyncio.gather(asking, again)
        assert (replies[0].repeated, replies[0].saved.outcome) == (False, "journalled")
        outage.server.restart()
        assert (await askers.open().ask("why", session_id=session_id, request_key="key")).repeated
        await until_replayed(flywheel.sessions)
        assert (await askers.open().ask("why", session_id=session_id, request_key="key")).repeated
        assert askers.runs == ["why"]

    async def test_what_another_process_recorded(self, askers: Askers, outage: Outage) -> None:
        """A request that was answered while Redis is away is answered by that, in the other processes, too."""
        session_id = await new_session(askers)
        outage.server.kill()
        flywheel, other = askers.open(), askers.open()
        for each in (flywheel, other):
            await until_open(each.sessions)
        askers.go()
        asked = (flywheel, other, flywheel)
        replies = [await each.ask("why", session_id=session_id, request_key="key") for each in asked]
        assert [reply.repeated for reply in replies] == [False, True, True]
        assert askers.runs == ["why"]

    async def test_again_after_it_was_stored(self, askers: Askers, outage: Outage) -> None:
        """A key that was answered gets that answer also while Redis, which has it, is away."""
        session_id = await new_session(askers)
        flywheel = askers.open()
        askers.go()
        first = await flywheel.ask("why", session_id=session_id, request_key="key")
        outage.server.kill()
        again = await flywheel.ask("why", session_id=session_id, request_key="key")
        assert (again.repeated, again.turn_id, again.text) == (True, first.turn_id, first.text)
        assert askers.runs == ["why"]

    @pytest.mark.parametrize("goes", [False, True], ids=["stays", "goes"])
    async def test_answered_by_another(self, askers: Askers, outage: Outage, goes: bool) -> None:
        """Who gets another's answer leaves no claim behind, also where Redis granted one that nobody heard of."""
        session_id = await new_session(askers)
        claim, waiting, other = f"agentic_flywheel:claim:{session_id}", askers.open(), askers.open().sessions
        release = waiting.sessions.turns.release

        async def released(*arguments: Any) -> None:
            if goes:
                outage.proxy.reset()  # so that it cannot be sent at once
                await asyncio.sleep(0.01)
                asking.cancel()
            await release(*arguments)

        waiting.sessions.turns.release = released  # type: ignore[method-assign, assignment]  # only listens
        outage.proxy.cut_answer(2, of=scripts.CLAIM.digest.encode())
        asking = asyncio.create_task(waiting.ask("why", session_id=session_id))

        async def is_unheard() -> bool:
            return journalled(waiting.sessions).claims.decide

        await until(is_unheard)
        async with run_here(other, session_id, "why"):
            await askers.waiting(1)
            assert await outage.raw.exists(claim)
        with pytest.raises(asyncio.CancelledError) if goes else nullcontext():
            assert (await asking).repeated
        await until_gone(outage, claim)
        assert askers.runs == []

    @pytest.mark.parametrize("key", ["key", None], ids=["same key", "same question"])
    async def test_one_process_takes_redis_for_away(self, askers: Askers, key: str | None) -> None:
        """A process that has not noticed yet that Redis is back does not run again what another stored there."""
        session_id = await new_session(askers)
        first, other = askers.open(), askers.open()
        asking = asyncio.create_task(first.ask("why", session_id=session_id, request_key=key))
        await askers.begun()
        again = asyncio.create_task(other.ask("why", session_id=session_id, request_key=key))
        await askers.waiting(1)
        guard_of(other.sessions).breaker = Breaker(failures=1, pause=1.0)
        guard_of(other.sessions).breaker.failed()
        askers.go()
        replies = await asyncio.gather(asking, again)
        assert [reply.repeated for reply in replies] == [False, True]
        assert askers.runs == ["why"]

    async def test_away_while_a_turn_runs(self, askers: Askers, outage: Outage) -> None:
        """A turn that runs when Redis goes away keeps its session, for the processes of its machine."""
        session_id = await new_session(askers)
        flywheel, other = askers.open(), askers.open()
        asking = asyncio.create_task(flywheel.ask("why", session_id=session_id))
        await askers.begun()
        outage.server.kill()
        again = asyncio.create_task(other.ask("why", session_id=session_id))
        different = asyncio.create_task(other.ask("what", session_id=session_id))
        await askers.waiting(2)
        assert askers.runs == ["why"]
        askers.go()
        replies = await asyncio.gather(asking, again, different)
        assert [reply.repeated for reply in replies] == [False, True, False]
        assert askers.runs == ["why", "what"]
        outage.server.restart()
        await until_replayed(flywheel.sessions)
        assert questions(await flywheel.sessions.require(session_id)) == ["why", "what"]

    async def test_away_when_a_turn_ends(self, askers: Askers, outage: Outage) -> None:
        """A claim that could not be given up is given up when Redis is back: nobody has to wait for its end."""
        session_id = await new_session(askers)
        flywheel = askers.open()
        asking = asyncio.create_task(flywheel.ask("why", session_id=session_id))
        await askers.begun()
        outage.server.kill()
        askers.go()
        assert (await asking).saved.outcome == "journalled"
        outage.server.restart()
        await until_gone(outage, f"agentic_flywheel:claim:{session_id}")  # one that only ended would still be told
        await until_replayed(flywheel.sessions)
        assert questions(await flywheel.sessions.require(session_id)) == ["why"]

    async def test_a_turn_that_was_held_up_and_cannot_be_written(self, askers: Askers, outage: Outage) -> None:
        """Its process stood still while Redis was there; that it is away now does not let it come behind others."""
        session_id = await new_session(askers)
        late = await askers.start(session_id, "late", "key")
        await askers.begun()
        late.send_signal(signal.SIGSTOP)
        try:
            askers.go()
            following = askers.open()
            assert (await following.ask("next", session_id=session_id)).saved.outcome == "stored"
            outage.proxy.blackhole()
        finally:
            late.send_signal(signal.SIGCONT)
        assert await line_of(late) == "begun"
        assert await line_of(late) == "False answer to late"
        await late.wait()
        assert (await following.sessions.health()).pending
        await outage.proxy.pass_through()
        await until_replayed(following.sessions)
        assert questions(await following.sessions.require(session_id)) == ["next"]
        execution = await following.sessions.load_execution(turn_id_for(session_id, "key"))
        assert execution is not None
        assert execution.text == "answer to late"

    async def test_away_for_longer_than_a_claim_lasts(self, askers: Askers, outage: Outage, tmp_path: Path) -> None:
        """A turn whose claim could not be renewed stays a turn, also where another machine's comes before it."""
        session_id = await new_session(askers)
        elsewhere = Askers(outage.server.url, tmp_path / "elsewhere")
        elsewhere.folder.mkdir()
        elsewhere.go()
        flywheel = askers.open()
        asking = asyncio.create_task(flywheel.ask("ours", session_id=session_id))
        await askers.begun()
        outage.server.kill()
        await asyncio.sleep(CLAIM_SECONDS + 0.5)
        async with nobody_replays(askers.open().sessions):
            askers.go()
            assert (await asking).saved.outcome == "journalled"
            outage.server.restart()
            assert (await elsewhere.open().ask("theirs", session_id=session_id)).saved.outcome == "stored"
        await until_replayed(flywheel.sessions)
        assert questions(await flywheel.sessions.require(session_id)) == ["theirs", "ours"]
        for each in elsewhere.opened:
            await each.sessions.close()

    async def test_a_stand_in(self, askers: Askers, outage: Outage, tmp_path: Path) -> None:
        """What is asked of a session that cannot be read now is merged with it when it can be."""
        elsewhere = Askers(outage.proxy.url, tmp_path / "elsewhere")
        elsewhere.folder.mkdir()
        session_id = await new_session(elsewhere)
        elsewhere.go()
        await elsewhere.open().ask("one", session_id=session_id)
        outage.server.kill()
        askers.go()
        flywheel = askers.open()
        reply = await flywheel.ask("two", session_id=session_id)
        assert reply.saved.outcome == "journalled"
        await flywheel.ask("three", session_id=session_id)
        outage.server.restart()
        await until_replayed(flywheel.sessions)
        session = await flywheel.sessions.require(session_id)
        assert questions(session) == ["one", "two", "three"]
        assert session.metadata["created_at"]
        assert guard_of(flywheel.sessions).state == "available"
        for each in elsewhere.opened:
            await each.sessions.close()


async def test_a_turn_that_was_held_up_does_not_write_behind_the_next(askers: Askers) -> None:
    """A process that stands still for longer than its claim lasts is taken over from; its turn is an execution."""
    session_id = await new_session(askers)
    late = await askers.start(session_id, "late", "key")
    await askers.begun()
    late.send_signal(signal.SIGSTOP)
    try:
        askers.go()
        following = askers.open()
        assert (await following.ask("next", session_id=session_id)).text == "answer to next"
    finally:
        late.send_signal(signal.SIGCONT)
    assert await line_of(late) == "begun"
    assert await line_of(late) == "False answer to late"
    await late.wait()
    assert questions(await following.sessions.require(session_id)) == ["next"]
    execution = await following.sessions.load_execution(turn_id_for(session_id, "key"))
    assert execution is not None
    assert execution.text == "answer to late"
