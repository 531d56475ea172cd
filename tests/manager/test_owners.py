"""Each principal has sessions of its own: whatever another one asks for is not there."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import Limits
from agentic_flywheel.errors import BadInput, SessionNotFound
from agentic_flywheel.manager import hand_over, share
from agentic_flywheel.manager.keeping import RENEW_SECONDS
from agentic_flywheel.manager.owners import OWNER
from agentic_flywheel.session import InFlight, new_id
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.owned import NOBODY, acting_as
from tests.stores.worlds import World

ANNA, BEN, CARL = (principal_of(None, name) for name in ("anna", "ben", "carl"))
STRANGERS = pytest.mark.parametrize("stranger", [BEN, NOBODY], ids=["another", "nobody"])


@pytest.fixture
def sessions(world: World) -> SessionManager:
    """On a store of each kind, where a principal may have five sessions."""
    return SessionManager(world.store, limits=Limits(sessions=5), budget=5.0)


async def begun(sessions: SessionManager, principal: str, *questions: str) -> UniversalSession:
    """A session of a principal in which something was asked."""
    session = UniversalSession(backend="custom")
    for question in questions or ("what is mine?",):
        session.record(question=question, response="yours", flow_id="flow")
    with acting_as(principal):
        assert (await sessions.save_session(session)).outcome == "stored"
    return session


@STRANGERS
async def test_what_is_another_s_is_not_there(sessions: SessionManager, stranger: str) -> None:
    """Session, listing, execution, history, claim: the answer is that for something that never was."""
    session = await begun(sessions, ANNA)
    turn = str(session.history[0].id)
    with acting_as(ANNA):
        await sessions.turns.claim(session.id, InFlight(new_id("turn"), "a secret question", "flow"))
    with acting_as(stranger):
        foreign, unknown = await sessions.load(session.id), await sessions.load("session_0")
        assert foreign.state == unknown.state == "absent"
        assert foreign.reason is not None
        assert foreign.reason.replace(session.id, "session_0") == unknown.reason
        assert await sessions.list_sessions() == []
        assert await sessions.load_execution(turn) is None
        assert await sessions.load_history(session.id, "flow") == []
        assert await sessions.turns.look(session.id) is None
        assert not await sessions.delete_session(session.id)
        with pytest.raises(SessionNotFound):
            await sessions.fork_session(session.id)
    with acting_as(ANNA):
        assert await sessions.require(session.id) == session
        assert [summary.id for summary in await sessions.list_sessions()] == [session.id]
        assert (await sessions.load_execution(turn)) is not None
        assert len(await sessions.load_history(session.id, "flow")) == 1
        assert await sessions.turns.look(session.id) is not None


async def test_turns_that_last_keep_their_claims_each_in_its_owner_s_name(
    world: World, sessions: SessionManager
) -> None:
    """One timer renews the claims of all, and the next one for whom it is renewed need not be the first."""

    async def lasts(principal: str) -> None:
        session, turn = await begun(sessions, principal), InFlight(new_id("turn"), "a long question", "flow")
        with acting_as(principal):
            assert await sessions.turns.claim(session.id, turn) is None
            async with sessions.turns.kept(session.id, turn):
                claimed = await sessions.own.claimed(session.id)
                await world.wait(1)  # some have a clock of their own
                await asyncio.sleep(RENEW_SECONDS + 0.2)
                renewed = await sessions.own.claimed(session.id)
            assert claimed is not None
            assert renewed is not None
            assert renewed.until > claimed.until + RENEW_SECONDS / 4
            assert await sessions.own.claimed(session.id) is None

    await asyncio.gather(lasts(ANNA), lasts(BEN), lasts(NOBODY))


@STRANGERS
async def test_a_stranger_s_write_under_a_foreign_handle_is_their_own(
    sessions: SessionManager, stranger: str
) -> None:
    """What somebody makes up under another's handle touches nothing of theirs, and is seen by nobody else."""
    session = await begun(sessions, ANNA)
    forged = UniversalSession(id=session.id, backend="custom")
    forged.metadata[OWNER] = ANNA
    forged.record(id=session.history[0].id, question="stolen", response="stolen", flow_id="flow")
    with acting_as(stranger):
        await sessions.save_session(forged)
    with acting_as(ANNA):
        assert await sessions.require(session.id) == session
        execution = await sessions.load_execution(str(session.history[0].id))
        assert execution is not None
        assert execution.question == "what is mine?"
    with acting_as(stranger):
        assert (await sessions.require(session.id)).history[0].question == "stolen"


@STRANGERS
async def test_a_stranger_does_not_hold_anybody_up(sessions: SessionManager, stranger: str) -> None:
    """A claim on a foreign handle is no claim on the session."""
    session = await begun(sessions, ANNA)
    with acting_as(stranger):
        assert await sessions.turns.claim(session.id, InFlight(new_id("turn"), "q", "flow")) is None
    with acting_as(ANNA):
        assert await sessions.turns.claim(session.id, InFlight(new_id("turn"), "q", "flow")) is None


@pytest.mark.parametrize("shape", ["{0}\x1f{1}", "{0}:{1}", "{0}%1F{1}", "../{0}:{1}", "{0}", "*", "{0}\x1f*"])
async def test_no_id_is_spelled_like_another_s_name(sessions: SessionManager, shape: str) -> None:
    """A session id, an execution id or a flow id that imitates the name in the store leads nowhere."""
    session = await begun(sessions, ANNA)
    turn = str(session.history[0].id)
    with acting_as(NOBODY):
        try:
            assert (await sessions.load(shape.format(ANNA, session.id))).state == "absent"
        except BadInput as error:
            assert "control character" in str(error)  # noqa: PT017  # either is an answer
        assert await sessions.load_execution(shape.format(ANNA, turn)) is None
        assert await sessions.load_history("x", shape.format(session.id, "flow")) == []


async def test_a_document_that_was_put_under_an_owner_s_name_is_not_his(sessions: SessionManager) -> None:
    """What lies there and says that it is somebody else's is not there for either."""
    session = await begun(sessions, ANNA)
    with acting_as(ANNA):
        session.metadata[OWNER] = BEN
        await sessions.save_session(session)
    for principal in (ANNA, BEN):
        with acting_as(principal):
            assert (await sessions.load(session.id)).state == "absent"


async def test_a_session_is_signed_by_its_owner(sessions: SessionManager) -> None:
    """The document says whose it is; a fork is its maker's."""
    session = await begun(sessions, ANNA)
    with acting_as(ANNA):
        assert (await sessions.require(session.id)).metadata[OWNER] == ANNA
        assert (await sessions.fork_session(session.id)).metadata[OWNER] == ANNA
    free = await begun(sessions, NOBODY)
    assert OWNER not in (await sessions.require(free.id)).metadata


async def test_one_principal_has_so_many_sessions(sessions: SessionManager) -> None:
    """The next one is refused, with the limit; others are not concerned, and one that is ended makes room."""
    made = [await begun(sessions, ANNA) for _ in range(5)]
    with acting_as(ANNA):
        refused = await sessions.save_session(UniversalSession(backend="custom"))
        assert refused.outcome == "refused"
        assert refused.reason is not None
        assert "5 sessions" in refused.reason
        made[0].record(question="and", response="on")
        assert (await sessions.save_session(made[0])).outcome == "stored"
    await begun(sessions, BEN)
    for _ in range(7):
        await begun(sessions, NOBODY)
    with acting_as(ANNA):
        await sessions.delete_session(made[0].id)
        assert (await sessions.save_session(UniversalSession(backend="custom"))).outcome == "stored"


@pytest.fixture
async def shared(sessions: SessionManager) -> UniversalSession:
    """A session of Anna's that Ben may read."""
    session = await begun(sessions, ANNA, "one", "two")
    with acting_as(ANNA):
        await share(sessions, session.id, BEN, allowed=True)
    return session


async def test_a_shared_session_is_read(sessions: SessionManager, shared: UniversalSession) -> None:
    """By the one it was shared with, and by nobody else; what is taken back is not there any more."""
    with acting_as(BEN):
        found = await sessions.require(shared.id, last=1)
        assert [turn.question for turn in found.history] == ["two"]
        assert await sessions.list_sessions() == []
    with acting_as(CARL):
        assert (await sessions.load(shared.id)).state == "absent"
    with acting_as(ANNA):
        await share(sessions, shared.id, BEN, allowed=False)
    with acting_as(BEN):
        assert (await sessions.load(shared.id)).state == "absent"


async def test_a_shared_session_is_not_written(sessions: SessionManager, shared: UniversalSession) -> None:
    """Not saved, gone on with, held, shared on or ended; each says that a fork is the way."""
    with acting_as(BEN):
        found = await sessions.require(shared.id)
        found.record(question="mine", response="no")
        saved = await sessions.save_session(found)
        assert saved.outcome == "refused"
        assert "fork" in str(saved.reason)
        with pytest.raises(BadInput, match="fork"):
            await sessions.require_or_stand_in(shared.id, "custom")
        with pytest.raises(BadInput, match="fork"):
            await sessions.claim_and_load(shared.id, InFlight(new_id("turn"), "q", "flow"))
        with pytest.raises(BadInput, match="fork"):
            await share(sessions, shared.id, CARL, allowed=True)
        assert not await sessions.delete_session(shared.id)
    with acting_as(ANNA):
        assert len((await sessions.require(shared.id)).history) == 2


async def test_the_fork_of_a_shared_session_is_one_s_own(
    sessions: SessionManager, shared: UniversalSession
) -> None:
    """It goes on from what was shared, and its first owner does not see it."""
    with acting_as(BEN):
        fork = await sessions.fork_session(shared.id)
        assert fork.metadata[OWNER] == BEN
        fork.record(question="three", response="three")
        assert (await sessions.save_session(fork)).outcome == "stored"
        assert [summary.id for summary in await sessions.list_sessions()] == [fork.id]
    with acting_as(ANNA):
        assert (await sessions.load(fork.id)).state == "absent"


async def test_a_session_is_handed_over(sessions: SessionManager) -> None:
    """With its turns, executions and history, under its handle."""
    session = await begun(sessions, ANNA, "one", "two")
    with acting_as(ANNA):
        await hand_over(sessions, session.id, BEN)
        assert (await sessions.load(session.id)).state == "absent"
        assert await sessions.list_sessions() == []
    with acting_as(BEN):
        found = await sessions.require(session.id)
        assert [turn.question for turn in found.history] == ["one", "two"]
        assert found.metadata[OWNER] == BEN
        assert await sessions.load_execution(str(found.history[0].id)) is not None
        assert len(await sessions.load_history(session.id, "flow")) == 2
        found.record(question="and", response="on")
        assert (await sessions.save_session(found)).outcome == "stored"
        assert [summary.turns for summary in await sessions.list_sessions()] == [3]


async def test_a_session_may_be_handed_back(sessions: SessionManager) -> None:
    """That it was deleted there does not keep it from coming back; it keeps late writers off all the same."""
    session = await begun(sessions, ANNA)
    with acting_as(ANNA):
        await hand_over(sessions, session.id, BEN)
        session.record(question="late", response="too late")
        assert (await sessions.save_session(session)).outcome == "refused"
    with acting_as(BEN):
        await hand_over(sessions, session.id, ANNA)
    with acting_as(ANNA):
        assert [turn.question for turn in (await sessions.require(session.id)).history] == ["what is mine?"]


async def test_only_owners_give_away(sessions: SessionManager) -> None:
    """What is nobody's, somebody else's or only shared is not handed over; nor to oneself."""
    free, annas = await begun(sessions, NOBODY), await begun(sessions, ANNA)
    with pytest.raises(BadInput, match="owners"):
        await hand_over(sessions, free.id, ANNA)
    with acting_as(BEN), pytest.raises(SessionNotFound):
        await hand_over(sessions, annas.id, CARL)
    with acting_as(ANNA), pytest.raises(BadInput, match="somebody else"):
        await hand_over(sessions, annas.id, ANNA)


async def test_a_foreign_session_takes_as_long_as_an_unknown_one(sessions: SessionManager) -> None:
    """However large it is: nobody learns from the time of an answer that a handle is somebody's."""
    large = await begun(sessions, ANNA, *(["x" * 20_000] * 200))
    times: dict[str, list[float]] = {large.id: [], "session_" + 32 * "0": []}
    with acting_as(BEN):
        for _ in range(200):
            for session_id, taken in times.items():
                start = time.perf_counter()
                assert (await sessions.load(session_id)).state == "absent"
                taken.append(time.perf_counter() - start)
    foreign, unknown = (median(taken) for taken in times.values())
    assert 0.7 < foreign / unknown < 1.4


async def test_calls_at_once_act_each_for_its_own(sessions: SessionManager) -> None:
    """A principal holds for the call that it was set for, not for others that run meanwhile."""
    mine = {principal: await begun(sessions, principal) for principal in (ANNA, BEN, NOBODY)}

    async def lists(principal: str) -> list[str]:
        with acting_as(principal):
            await asyncio.sleep(0)
            return [summary.id for summary in await sessions.list_sessions()]

    for found, principal in zip(await asyncio.gather(*map(lists, mine)), mine, strict=True):
        assert found == [mine[principal].id]
