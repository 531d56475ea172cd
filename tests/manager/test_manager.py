"""A conversation is kept, whoever writes it, whenever, and from wherever."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentic_flywheel import Execution, History, SessionManager, UniversalSession
from agentic_flywheel.config import Limits, TimesToLive
from agentic_flywheel.errors import BadInput, BadSessionId, SessionNotFound
from agentic_flywheel.stores.memory import MemoryStore
from tests.stores.worlds import World
from tests.support.values import PUBLISHED, questions

HOUR = 3600
WEEK = 7 * 24 * HOUR


def conversation(*asked: Any, **fields: Any) -> UniversalSession:
    session = UniversalSession(backend="custom", **fields)
    ask(session, *asked)
    return session


def ask(session: UniversalSession, *asked: Any) -> None:
    for question in asked:
        session.record(question=question, response=f"answer to {question}", flow_id="f")


async def save(manager: SessionManager, session: UniversalSession, *asked: Any) -> None:
    ask(session, *asked)
    saved = await manager.save_session(session)
    assert saved, saved.reason


async def load(manager: SessionManager, session_id: str, **how: Any) -> UniversalSession:
    session = await manager.load_session(session_id, **how)
    assert session is not None
    return session


async def saved_conversation(manager: SessionManager, *asked: Any, **fields: Any) -> UniversalSession:
    session = conversation(*asked, **fields)
    await save(manager, session)
    return session


class TestSavingAndLoading:
    async def test_the_published_session(
        self, manager: SessionManager, other: SessionManager, published: UniversalSession
    ) -> None:
        """The published session is saved, and another process loads it with nothing lost."""
        saved = await manager.save_session(published)
        assert saved.outcome == "stored"
        assert saved.where == manager.store.where
        assert saved.revision == 1
        again = await load(other, "session_abc123")
        assert again == published
        document = again.to_dict()
        document.pop("schema")
        assert document == json.loads(PUBLISHED)

    async def test_what_is_stored_is_one_document(
        self, manager: SessionManager, published: UniversalSession
    ) -> None:
        """The bytes under a session's name are one JSON object with the published fields."""
        await save(manager, published)
        raw = await manager.store.raw("session_abc123")
        assert raw is not None
        assert json.loads(raw).items() >= json.loads(PUBLISHED).items()

    async def test_a_second_save_without_a_change(
        self, manager: SessionManager, published: UniversalSession
    ) -> None:
        """Saving again what has not changed changes nothing but the number of writes."""
        await save(manager, published)
        assert (await manager.save_session(published)).revision == 2
        assert await load(manager, published.id) == published

    async def test_a_conversation_goes_on(self, manager: SessionManager, other: SessionManager) -> None:
        """A conversation that goes on now here, now there, is one conversation."""
        session = await saved_conversation(manager, 1)
        for number in range(2, 8):
            session = await load((manager, other)[number % 2], session.id)
            await save((manager, other)[number % 2], session, number)
        assert questions(await load(manager, session.id)) == [1, 2, 3, 4, 5, 6, 7]

    async def test_fields_that_change(self, manager: SessionManager) -> None:
        """Context, metadata, status and further fields are stored as they are changed, added and removed."""
        session = await saved_conversation(manager, context={"a": {"b": [1]}, "c": 2}, extra={"x": 1})
        session.context["a"]["b"].append(2)
        del session.context["c"]
        session.metadata["title"] = "A title"
        session.status, session.current_flow_id, session.extra = "paused", "csv2507", {"y": 2}
        await save(manager, session)
        again = await load(manager, session.id)
        assert (again.context, again.metadata["title"]) == ({"a": {"b": [1, 2]}}, "A title")
        assert (again.status, again.current_flow_id, again.extra) == ("paused", "csv2507", {"y": 2})

    async def test_an_absent_session(self, manager: SessionManager) -> None:
        """A session that is not there is None, absent, or an error, as the caller wishes."""
        assert await manager.load_session("nobody") is None
        assert (await manager.load("nobody")).state == "absent"
        with pytest.raises(SessionNotFound, match="'nobody'"):
            await manager.require("nobody")

    async def test_a_session_under_another_id(self, manager: SessionManager) -> None:
        """A session that is given another id is saved as another session; the first stays."""
        session = await saved_conversation(manager, 1)
        first, session.id = session.id, "another"
        await save(manager, session, 2)
        assert questions(await load(manager, first)) == [1]
        assert questions(await load(manager, "another")) == [1, 2]

    async def test_a_session_in_two_stores(self, manager: SessionManager) -> None:
        """A session that is saved to two stores, at once and in turn, is whole in both."""
        second = SessionManager(MemoryStore())
        session = conversation(1)
        both = asyncio.gather(manager.save_session(session), second.save_session(session))
        await asyncio.sleep(0)
        ask(session, 2)
        await both
        await save(manager, session, 3)
        await save(second, session)
        await save(manager, session, 4)
        await save(second, session)
        for each in (manager, second):
            assert questions(await load(each, session.id)) == [1, 2, 3, 4]

    async def test_closing(self, manager: SessionManager) -> None:
        """A manager that was closed opens again when it is used."""
        async with manager:
            session = await saved_conversation(manager, 1)
        assert questions(await load(manager, session.id)) == [1]

    async def test_persistence_switched_off(self) -> None:
        """With persistence switched off a save says so, and the session is in this process all the same."""
        manager = SessionManager(MemoryStore(), enabled=False)
        session = conversation(1)
        saved = await manager.save_session(session)
        assert (saved.outcome, bool(saved)) == ("off", False)
        assert questions(await load(manager, session.id)) == [1]
        assert (await manager.save_execution(Execution(id="e"))).outcome == "off"
        assert (await manager.health()).state == "off"

    @pytest.mark.parametrize("session_id", ["a:b", "*", "a b", "é", "../x", "会話🙂", "%41", "x" * 256, "~", "a_b"])
    async def test_any_good_id(self, manager: SessionManager, session_id: str) -> None:
        """A session of any good id is found under it, and under no other one."""
        await saved_conversation(manager, 1, id=session_id)
        assert questions(await load(manager, session_id)) == [1]
        assert [summary.id for summary in await manager.list_sessions()] == [session_id]
        for near in ("A", "a", "*:*", "axb", "%2A", "a%3Ab"):
            assert await manager.load_session(near) is None
        assert await manager.delete_session(session_id)

    @pytest.mark.parametrize("session_id", ["", "x" * 257, "a\nb", "a\0b", "x" * 10_000])
    async def test_bad_ids(self, manager: SessionManager, session_id: str) -> None:
        """A bad id is refused by every call that takes one, before the store is asked."""
        for call in (
            manager.load,
            manager.load_session,
            manager.require,
            manager.delete_session,
            manager.fork_session,
        ):
            with pytest.raises(BadSessionId):
                await call(session_id)
        session = UniversalSession(backend="custom")
        session.id = session_id
        saved = await manager.save_session(session)
        assert saved.outcome == "refused"
        assert "a session id" in (saved.reason or "")


class TestTwoWriters:
    async def test_interleaved_appends(self, manager: SessionManager, other: SessionManager) -> None:
        """Of two times a hundred turns that two managers append at once all are kept, each writer's in order."""
        session = await saved_conversation(manager)

        async def write(who: SessionManager, name: str) -> None:
            mine = await load(who, session.id)
            for number in range(100):
                await save(who, mine, f"{name}{number}")
                await asyncio.sleep(0)

        await asyncio.gather(write(manager, "a"), write(other, "b"))
        asked = questions(await load(manager, session.id))
        assert len(asked) == 200
        for name in "ab":
            assert [question for question in asked if question.startswith(name)] == [
                f"{name}{n}" for n in range(100)
            ]

    async def test_context_merges_by_key(self, manager: SessionManager, other: SessionManager) -> None:
        """What two writers changed under different keys is kept; under one key the last saver's value is."""
        session = await saved_conversation(manager, context={"same": 0, "left": 0, "mine": 0, "theirs": 0})
        theirs = await load(other, session.id)
        session.context |= {"same": "ours", "mine": 1}
        theirs.context |= {"same": "theirs", "theirs": 1}
        del theirs.context["left"]
        await save(other, theirs)
        await save(manager, session)
        expected = {"same": "ours", "mine": 1, "theirs": 1}
        assert session.context == (await load(manager, session.id)).context == expected
        await save(other, theirs, 1)
        assert theirs.context == expected

    async def test_after_a_save_the_session_has_both(self, manager: SessionManager, other: SessionManager) -> None:
        """A session that was saved behind another writer holds that one's turns too, in the stored order."""
        session = await saved_conversation(manager, 1)
        theirs = await load(other, session.id)
        await save(other, theirs, 2)
        await save(manager, session, 3)
        assert questions(session) == questions(await load(other, session.id)) == [1, 2, 3]
        assert session == await load(other, session.id)

    async def test_what_callers_hold_stays_in_the_session(
        self, manager: SessionManager, other: SessionManager
    ) -> None:
        """After a merge the dicts that a caller took out of the context are still in it."""
        session = await saved_conversation(manager, context={"user": {"name": "A"}})
        user, context = session.context["user"], session.context
        theirs = await load(other, session.id)
        theirs.context["theirs"] = 1
        await save(other, theirs)
        await save(manager, session, 1)
        user["name"] = "B"
        await save(manager, session)
        assert context is session.context
        assert (await load(other, session.id)).context == {"user": {"name": "B"}, "theirs": 1}

    async def test_an_edit_beside_an_append(self, manager: SessionManager, other: SessionManager) -> None:
        """One writer edits an earlier turn while another one appends: both are kept, whoever saves first."""
        for first, second in ((0, 1), (1, 0)):
            session = await saved_conversation(manager, 1, 2)
            theirs = await load(other, session.id)
            session.history[0]["response"] = "edited"
            ask(theirs, 3)
            writers = ((manager, session), (other, theirs))
            await save(*writers[first])
            await save(*writers[second])
            again = await load(manager, session.id)
            assert questions(again) == [1, 2, 3]
            assert again.history[0].response == "edited"

    async def test_a_removal_beside_an_append(self, manager: SessionManager, other: SessionManager) -> None:
        """A turn that one writer removed stays removed when another one, who still has it, appends."""
        for first, second in ((0, 1), (1, 0)):
            session = await saved_conversation(manager, 1, 2)
            theirs = await load(other, session.id)
            del session.history[0]
            ask(theirs, 3)
            writers = ((manager, session), (other, theirs))
            await save(*writers[first])
            await save(*writers[second])
            assert questions(await load(manager, session.id)) == [2, 3]

    async def test_two_creators(self, manager: SessionManager, other: SessionManager) -> None:
        """Two who create one session get one that holds what both said."""
        one, two = (conversation(n, id="same", context={str(n): n}) for n in (1, 2))
        await asyncio.gather(save(manager, one), save(other, two))
        again = await load(manager, "same")
        assert sorted(questions(again)) == [1, 2]
        assert again.context == {"1": 1, "2": 2}


class TestEarlierTurns:
    @pytest.mark.parametrize("last", [None, 2])
    async def test_edits(self, manager: SessionManager, last: int | None) -> None:
        """Edits of earlier turns, also inside of them, are stored, and with them what is new."""
        session = await saved_conversation(manager, 1, 2, 3, [4])
        session = await load(manager, session.id, last=last)
        session.history[-2]["response"] = "edited"
        session.history[-1]["question"].append(5)
        await save(manager, session, 6)
        again = await load(manager, session.id)
        assert questions(again) == [1, 2, 3, [4, 5], 6]
        assert again.history[2].response == "edited"

    @pytest.mark.parametrize("last", [None, 2])
    async def test_an_edit_deep_inside(self, manager: SessionManager, last: int | None) -> None:
        """A change inside of an earlier turn's own values, and nothing else, is stored."""
        first = await saved_conversation(manager, 1, 2, [3], 4)
        session = await load(manager, first.id, last=last)
        session.history[-2]["question"].append(True)
        await save(manager, session)
        assert questions(await load(manager, session.id)) == [1, 2, [3, True], 4]

    async def test_edits_again_and_again(self, manager: SessionManager) -> None:
        """A session with only its last turns in hand keeps its shape while they are edited and saved again."""
        first = await saved_conversation(manager, *range(10))
        session = await load(manager, first.id, last=2)
        for text in ("once", "twice", "thrice"):
            session.history[0]["response"] = text
            await save(manager, session)
            assert questions(session) == [8, 9]
            again = await load(manager, session.id)
            assert questions(again) == list(range(10))
            assert again.history[8].response == text

    async def test_edits_while_others_remove(self, manager: SessionManager, other: SessionManager) -> None:
        """An edit in the last turns does not double turns where another writer removed earlier ones."""
        first = await saved_conversation(manager, *range(10))
        session = await load(manager, first.id, last=4)
        theirs = await load(other, first.id)
        del theirs.history[0:3]
        await save(other, theirs)
        session.history[0]["response"] = "edited"
        await save(manager, session)
        again = await load(manager, session.id)
        assert questions(again) == list(range(3, 10))
        assert again.history[3].response == "edited"

    async def test_removals(self, manager: SessionManager) -> None:
        """Turns that are removed are gone."""
        session = await saved_conversation(manager, 1, 2, 3, 4)
        del session.history[1:3]
        await save(manager, session)
        assert questions(await load(manager, session.id)) == [1, 4]

    @pytest.mark.parametrize(
        "make", [list, History, lambda history: [dict(turn) for turn in history]], ids=["turns", "history", "dicts"]
    )
    async def test_another_list(self, manager: SessionManager, make: Any) -> None:
        """A history that is replaced by another list is stored as that list; then the session goes on."""
        session = await saved_conversation(manager, 1, 2, 3)
        session.history = make(session.history[1:])
        ask(session, 4)
        await save(manager, session)
        await save(manager, session, 5)
        assert questions(await load(manager, session.id)) == [2, 3, 4, 5]

    async def test_the_history_of_another_session(self, manager: SessionManager) -> None:
        """A history taken from another session is copied: both go on apart."""
        source = await saved_conversation(manager, 1, 2)
        source = await load(manager, source.id)
        session = await saved_conversation(manager, 9)
        session.history = source.history
        await save(manager, session, 3)
        await save(manager, source, 4)
        assert questions(await load(manager, session.id)) == [1, 2, 3]
        assert questions(await load(manager, source.id)) == [1, 2, 4]

    async def test_executions_survive_edits(self, manager: SessionManager) -> None:
        """The full executions of turns are not written anew when turns are edited, moved or removed."""
        session = conversation()
        turn = session.record(question=1, response="r", flow_id="f")
        full = Execution(id=turn["id"], session_id=session.id, flow_id="f", parameters={"full": True})
        await manager.save_session(session, executions=[full])
        turn["response"] = "edited"
        ask(session, 2)
        del session.history[1]
        session.history.append({**turn, "again": True})
        del session.history[0]
        await save(manager, session)
        session.history = list(session.history)  # type: ignore[assignment]  # accepted all the same
        await save(manager, session)
        assert await manager.load_execution(turn["id"]) == full


class TestPartialLoads:
    async def test_only_the_last(self, manager: SessionManager) -> None:
        """Of a session the newest turns alone can be loaded: any number of them, none, or more than there are."""
        session = await saved_conversation(manager, *range(30))
        for last in (0, 1, 20, 30, 40):
            part = await load(manager, session.id, last=last)
            assert questions(part) == list(range(30))[30 - min(last, 30) :]
            assert part.history.older == 30 - min(last, 30)

    @pytest.mark.parametrize("last", [0, 1, 20])
    async def test_going_on(self, manager: SessionManager, other: SessionManager, last: int) -> None:
        """A session with only its last turns in hand goes on without losing the others, beside another writer."""
        session = await saved_conversation(manager, *range(30))
        part, theirs = await load(manager, session.id, last=last), await load(other, session.id, last=1)
        await save(manager, part, 30)
        await save(other, theirs, 31)
        await save(manager, part, 32)
        await save(manager, part)
        assert questions(await load(manager, session.id)) == list(range(33))
        assert questions(part) == list(range(33))[30 - last :]

    async def test_another_list(self, manager: SessionManager) -> None:
        """Another list in the place of the last turns is the whole history from then on."""
        session = await saved_conversation(manager, *range(30))
        part = await load(manager, session.id, last=2)
        part.history = [{"question": "new"}]  # type: ignore[assignment]  # accepted all the same
        await save(manager, part)
        assert questions(await load(manager, session.id)) == ["new"]


class TestDuringASave:
    async def test_turns(self, manager: SessionManager) -> None:
        """Turns that are recorded while a save is under way are kept by the next one, each once."""
        session = conversation(1)
        for number in range(2, 6):
            saving = asyncio.create_task(manager.save_session(session))
            await asyncio.sleep(0)
            ask(session, number)
            session.context[str(number)] = number
            assert await saving
        await save(manager, session)
        again = await load(manager, session.id)
        assert questions(again) == questions(session) == [1, 2, 3, 4, 5]
        assert again.context == {"2": 2, "3": 3, "4": 4, "5": 5}

    @pytest.mark.parametrize("new", [True, False], ids=["new", "saved"])
    @pytest.mark.parametrize("named", [True, False], ids=["ids", "no ids"])
    async def test_edits(self, manager: SessionManager, new: bool, named: bool) -> None:
        """A turn that is edited while its save is under way is stored as edited by the next one, once."""
        session = conversation()
        if not new:
            await save(manager, session)
        turn = session.record(question=1, response="r") if named else {"question": 1}
        if not named:
            session.history.append(turn)
        saving = asyncio.create_task(manager.save_session(session))
        await asyncio.sleep(0)
        session.history[0]["response"] = "edited"
        assert await saving
        await save(manager, session)
        again = await load(manager, session.id)
        assert [turn.response for turn in again.history] == ["edited"]

    async def test_a_bad_value(self, manager: SessionManager, other: SessionManager) -> None:
        """A bad value, put in while a merge is under way, is refused next time and loses nothing."""
        session = await saved_conversation(manager, 1)
        theirs = await load(other, session.id)
        theirs.context["theirs"] = 1
        await save(other, theirs, 2)
        ask(session, 3)
        saving = asyncio.create_task(manager.save_session(session))
        await asyncio.sleep(0)
        session.context["bad"] = object()
        await saving
        assert (await manager.save_session(session)).outcome == "refused"
        session.context["bad"] = "good"
        await save(manager, session)
        again = await load(manager, session.id)
        assert questions(again) == [1, 2, 3]
        assert again.context == {"theirs": 1, "bad": "good"}

    async def test_two_saves_of_one_session(self, manager: SessionManager) -> None:
        """Several saves of one session object at once write each turn once."""
        session = conversation(1, 2)
        saves = await asyncio.gather(*(manager.save_session(session) for _ in range(5)))
        assert all(saves)
        assert sorted(saved.revision or 0 for saved in saves) == [1, 2, 3, 4, 5]
        assert questions(await load(manager, session.id)) == [1, 2]

    async def test_a_save_that_is_given_up(self, manager: SessionManager) -> None:
        """A save whose caller was cancelled may be made again: nothing is lost or there twice."""
        session = await saved_conversation(manager, 1)
        ask(session, 2)
        saving = asyncio.create_task(manager.save_session(session))
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await save(manager, session, 3)
        assert questions(await load(manager, session.id)) == [1, 2, 3]


class TestCopies:
    async def test_saved_twice_from_one_text(self, manager: SessionManager) -> None:
        """A session that is made of one text again and again is stored once, turns without ids too."""
        document = json.loads(PUBLISHED)
        document["history"] += [{"role": "user", "content": "hello"}] * 2
        for _ in range(3):
            await save(manager, UniversalSession.from_json(json.dumps(document)))
        assert (await load(manager, "session_abc123")).to_dict()["history"] == document["history"]

    async def test_a_deep_copy(self, manager: SessionManager) -> None:
        """A deep copy of a saved session can be saved and adds what it has more; the original goes on beside it."""
        session = await saved_conversation(manager, 1, 2)
        twin = copy.deepcopy(session)
        await save(manager, twin, 3)
        await save(manager, session, 4)
        await save(manager, twin)
        assert questions(await load(manager, session.id)) == questions(twin) == [1, 2, 3, 4]

    async def test_a_deep_copy_after_a_loss(self, manager: SessionManager, world: World) -> None:
        """A copy brings back what the store lost, and nothing twice, also where somebody began anew meanwhile."""
        session = await saved_conversation(manager, 1, 2)
        twin = copy.deepcopy(await load(manager, session.id))
        await world.wait(WEEK + 1)
        again = UniversalSession.from_dict(session.to_dict() | {"history": []})
        await save(manager, again, 3)
        await save(manager, twin, 4)
        assert sorted(questions(await load(manager, session.id))) == [1, 2, 3, 4]

    async def test_a_copy_with_only_the_last_turns(self, manager: SessionManager) -> None:
        """A copy of a session with only its last turns in hand loses none of the others."""
        first = await saved_conversation(manager, *range(10))
        twin = copy.deepcopy(await load(manager, first.id, last=2))
        await save(manager, twin, 10)
        await save(manager, twin, 11)
        assert questions(await load(manager, first.id)) == list(range(12))
        assert questions(twin) == [8, 9, 10, 11]

    async def test_fork(self, manager: SessionManager) -> None:
        """A fork begins with the turns and the context of its source, is saved, and goes its own way."""
        source = await saved_conversation(manager, *range(10), context={"a": [1]}, backend_session_id="there")
        fork = await manager.fork_session(source.id)
        tail = await manager.fork_session(source.id, last=3)
        await save(manager, fork, "new")
        fork.context["a"].append(2)
        assert questions(await load(manager, fork.id)) == [*range(10), "new"]
        assert questions(await load(manager, tail.id)) == [7, 8, 9]
        assert (fork.metadata["forked_from"], fork.backend_session_id) == (source.id, None)
        assert await load(manager, source.id) == source

    async def test_fork_of_nobody(self, manager: SessionManager) -> None:
        """What is not there cannot be forked."""
        with pytest.raises(SessionNotFound):
            await manager.fork_session("nobody")


class TestDeleting:
    async def test_delete(self, manager: SessionManager, other: SessionManager) -> None:
        """A session is deleted once, is gone for all, and its executions stay."""
        session = await saved_conversation(manager, 1)
        assert await manager.delete_session(session.id) is True
        assert await manager.delete_session(session.id) is False
        assert await other.load_session(session.id) is None
        assert await other.list_sessions() == []
        assert await other.load_execution(session.history[0]["id"]) is not None

    async def test_a_late_writer(self, manager: SessionManager, other: SessionManager) -> None:
        """Whoever still holds a deleted session is refused, with the reason, after edits too."""
        session = await saved_conversation(manager, 1)
        late, copied = await load(other, session.id), copy.deepcopy(session)
        await manager.delete_session(session.id)
        edited = with_an_edit(copy.deepcopy(late))
        for held in (late, edited, copied, session):
            ask(held, 2)
            saved = await other.save_session(held)
            assert saved.outcome == "refused"
            assert "deleted at" in (saved.reason or "")
        assert await manager.load_session(session.id) is None
        assert await manager.list_sessions() == []

    async def test_the_same_id_again(self, manager: SessionManager) -> None:
        """A new session under the id of a deleted one is another session, and allowed."""
        await saved_conversation(manager, 1, id="again")
        await manager.delete_session("again")
        await saved_conversation(manager, 2, id="again")
        assert questions(await load(manager, "again")) == [2]


def with_an_edit(session: UniversalSession) -> UniversalSession:
    session.history[0]["response"] = "edited"
    return session


class TestLosses:
    async def test_a_store_that_was_flushed(self, manager: SessionManager, world: World) -> None:
        """A session that its store lost comes back whole with the next save of whoever holds it."""
        session = await saved_conversation(manager, 1, 2, context={"a": 1})
        await save(manager, session, 3)
        await world.wait(WEEK + 1)
        assert await manager.load_session(session.id) is None
        await save(manager, session, 4)
        again = await load(manager, session.id)
        assert questions(again) == [1, 2, 3, 4]
        assert again.context == {"a": 1}
        await save(manager, session, 5)
        assert questions(await load(manager, session.id)) == [1, 2, 3, 4, 5]

    async def test_two_who_bring_back(self, manager: SessionManager, other: SessionManager, world: World) -> None:
        """Two who hold a lost session bring it back together, each turn once, in its order."""
        session = await saved_conversation(manager, 1, 2)
        theirs = await load(other, session.id)
        await save(other, theirs, 3)
        await world.wait(WEEK + 1)
        await save(manager, session, 4)
        await save(other, theirs, 5)
        asked = questions(await load(manager, session.id))
        assert sorted(asked) == [1, 2, 3, 4, 5]
        assert [number for number in asked if number != 4] == [1, 2, 3, 5]


class TestTimeToLive:
    async def test_default(self, manager: SessionManager, world: World) -> None:
        """A session is kept for seven days after its last use."""
        session = await saved_conversation(manager, 1)
        await world.wait(WEEK - HOUR)
        await save(manager, await load(manager, session.id), 2)
        await world.wait(WEEK - HOUR)
        assert await manager.load_session(session.id) is not None
        await world.wait(WEEK + HOUR)
        assert await manager.load_session(session.id) is None

    async def test_of_the_manager(self, world: World) -> None:
        """A manager's times to live hold for sessions, executions and histories, each its own."""
        manager = SessionManager(world.store, ttl=TimesToLive(session=HOUR, execution=3 * HOUR, history=5 * HOUR))
        session = await saved_conversation(manager, 1)
        turn = session.history[0]["id"]
        await world.wait(2 * HOUR)
        assert await manager.load_session(session.id) is None
        assert await manager.load_execution(turn) is not None
        await world.wait(2 * HOUR)
        assert await manager.load_execution(turn) is None
        assert await manager.load_history(session.id, "f") != []
        await world.wait(2 * HOUR)
        assert await manager.load_history(session.id, "f") == []

    async def test_of_the_session(self, manager: SessionManager, world: World) -> None:
        """A session's own time to live wins, is kept by whoever loads it, and can be taken away."""
        session = conversation(1)
        session.ttl_seconds = HOUR
        await save(manager, session)
        await world.wait(HOUR - 60)
        session = await load(manager, session.id)
        await save(manager, session, 2)
        await world.wait(HOUR - 60)
        session = await load(manager, session.id)
        session.ttl_seconds = None
        await save(manager, session)
        await world.wait(2 * HOUR)
        assert await manager.load_session(session.id) is not None

    async def test_pinned(self, manager: SessionManager, world: World) -> None:
        """A session with a time to live of 0 is kept for ever, until it gets another one."""
        session = conversation(1)
        session.ttl_seconds = 0
        await save(manager, session)
        await world.wait(100 * WEEK)
        session = await load(manager, session.id)
        session.ttl_seconds = HOUR
        await save(manager, session)
        await world.wait(HOUR + 60)
        assert await manager.load_session(session.id) is None

    @pytest.mark.parametrize("last", [None, 0, 1])
    async def test_loading_is_use(self, manager: SessionManager, world: World, last: int | None) -> None:
        """A load, also of the last turns only, starts the time again."""
        session = await saved_conversation(manager, 1, 2)
        for _ in range(3):
            await world.wait(WEEK - HOUR)
            await load(manager, session.id, last=last)

    async def test_looking_is_no_use(self, manager: SessionManager, world: World) -> None:
        """Listing, raw reading and reindexing do not prolong a life."""
        session = await saved_conversation(manager, 1)
        await world.wait(WEEK - HOUR)
        assert len(await manager.list_sessions()) == 1
        await manager.store.raw(session.id)
        await manager.store.reindex()
        await manager.health()
        await world.wait(2 * HOUR)
        assert await manager.load_session(session.id) is None
        assert await manager.list_sessions() == []


class TestListing:
    async def test_most_recent_first(self, manager: SessionManager) -> None:
        """Sessions are listed by their last use, newest first, up to the limit, with what they are about."""
        first, second, third = [
            await saved_conversation(manager, n, context={"topic": f"topic {n}"}) for n in (1, 2, 3)
        ]
        await save(manager, first, "again")
        assert [summary.id for summary in await manager.list_sessions()] == [first.id, third.id, second.id]
        newest, *_ = await manager.list_sessions(limit=1)
        assert (newest.title, newest.turns, newest.backend, newest.status) == ("topic 1", 2, "custom", "active")
        assert newest.last_active == first.metadata["last_active"]
        assert len(await manager.list_sessions(limit=2)) == 2

    async def test_what_cannot_be_read_is_left_out(
        self, manager: SessionManager, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A newer session is left out of the listing, with a line in the log; the others are there."""
        session = await saved_conversation(manager, 1)
        newer = await saved_conversation(manager, 2)
        stored = await world.store.read(newer.id)
        assert stored is not None
        await make_newer(manager, newer)
        with caplog.at_level(logging.WARNING):
            assert [summary.id for summary in await manager.list_sessions()] == [session.id]
        assert "left out of the listing: Newer" in caplog.text


async def make_newer(manager: SessionManager, session: UniversalSession) -> None:
    """Let a later version write the session's head."""
    from agentic_flywheel.stores import Change

    stored = await manager.store.read(session.id)
    assert stored is not None
    head = stored.head.replace(b'"schema":1', b'"schema":2')
    await manager.store.write(
        Change(session.id, stored.mark, stored.head, head, stored.last_active), limit=manager.limits.session_bytes
    )


class TestExecutions:
    async def test_of_turns(self, manager: SessionManager, other: SessionManager) -> None:
        """Each new turn of a flow is an execution under the turn's id, and stands in the history of its flow."""
        session = conversation(1, 2)
        session.record(question="other", response="r", flow_id="g")
        session.record(question="none", response="r")
        await save(manager, session)
        await save(manager, session, 3)
        first = session.history[0]
        execution = await other.load_execution(first["id"])
        assert execution is not None
        assert (execution.session_id, execution.flow_id, execution.output) == (session.id, "f", first.response)
        entries = await other.load_history(session.id, "f")
        assert [entry["question"] for entry in entries] == [1, 2, 3]
        assert entries[0] == execution.entry()
        assert [entry["question"] for entry in await other.load_history(session.id, "g")] == ["other"]
        assert await other.load_execution(session.history[3]["id"]) is None
        assert await other.load_history(session.id, "unknown") == []
        assert await other.load_execution("unknown") is None

    async def test_a_fuller_one(self, manager: SessionManager) -> None:
        """The execution that is given for a turn is stored in the place of the one that the turn makes."""
        session = conversation(1)
        full = Execution(id=session.history[0]["id"], session_id=session.id, flow_id="f", parameters={"p": b"\0"})
        assert await manager.save_session(session, executions=[full])
        assert await manager.load_execution(full.id) == full
        assert len(await manager.load_history(session.id, "f")) == 1

    async def test_after_its_session(self, manager: SessionManager, world: World) -> None:
        """An execution can be read after its session has ended."""
        session = await saved_conversation(manager, 1)
        await manager.delete_session(session.id)
        assert await manager.load_execution(session.history[0]["id"]) is not None

    async def test_a_later_state(self, manager: SessionManager) -> None:
        """An execution that is saved again replaces its earlier state, in the history too."""
        execution = Execution(id="e", session_id="s", flow_id="f", status="running")
        assert await manager.save_execution(execution)
        execution.status, execution.error = "failed", "why"
        assert await manager.save_execution(execution)
        assert await manager.load_execution("e") == execution
        assert [entry["status"] for entry in await manager.load_history("s", "f")] == ["failed"]

    @pytest.mark.parametrize("name", ["a:b", "*", "é", "a/b", "x y", "%3A"])
    async def test_odd_names(self, manager: SessionManager, name: str) -> None:
        """Flows and executions of any name are kept apart."""
        for each in (name, "plain"):
            assert await manager.save_execution(Execution(id=each, session_id=name, flow_id=each, question=each))
        assert [entry["id"] for entry in await manager.load_history(name, name)] == [name]
        found = await manager.load_execution(name)
        assert found is not None
        assert found.question == name

    async def test_refused(self, manager: SessionManager) -> None:
        """An execution that cannot be stored is refused with the path, and raises nothing."""
        saved = await manager.save_execution(Execution(output={"image": object()}))
        assert saved.outcome == "refused"
        assert "execution.output.image: " in (saved.reason or "")


class TestRefusals:
    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (lambda s: s.context.update(user={"socket": object()}), "context.user.socket: "),
            (lambda s: s.metadata.update(when={1}), "metadata.when: "),
            (lambda s: s.extra.update(id="other"), "extra.id: "),
            (lambda s: ask(s, float("nan")), "history[1].question: nan is not a JSON number"),
            (lambda s: s.record(question=10**5000, response=1), "history[1].question: an integer of more than"),
            (lambda s: ask(s, "\ud83d\ude42"), "surrogate pair"),
            (lambda s: s.record(question=1, response=1, flow_id="\ud800"), "execution.flow_id: "),
            (lambda s: setattr(s, "context", None), "context: is NoneType, not dict"),
        ],
        ids=["context", "metadata", "extra", "nan", "integer", "surrogates", "flow", "kind"],
    )
    async def test_what_cannot_be_stored(self, manager: SessionManager, spoil: Any, reason: str) -> None:
        """A save never raises because of what the session holds: it is refused by its path, and nothing changes."""
        session = await saved_conversation(manager, 1)
        before = await manager.store.raw(session.id)
        spoil(session)
        saved = await manager.save_session(session)
        assert (saved.outcome, bool(saved)) == ("refused", False)
        assert reason in (saved.reason or "")
        assert await manager.store.raw(session.id) == before

    async def test_after_a_refusal(self, manager: SessionManager) -> None:
        """A session whose save was refused is saved whole once the reason is gone."""
        session = await saved_conversation(manager, 1)
        ask(session, 2)
        session.context["bad"] = object()
        assert not await manager.save_session(session)
        del session.context["bad"]
        await save(manager, session, 3)
        assert questions(await load(manager, session.id)) == [1, 2, 3]

    async def test_limits(self, world: World) -> None:
        """A turn and a session over their limits are refused with the limit and the way on; a fork then works."""
        manager = SessionManager(world.store, limits=Limits(turn_bytes=2000, session_bytes=8000))
        session = conversation("x" * 3000)
        saved = await manager.save_session(session)
        assert "the limit is 2,000" in (saved.reason or "")
        assert "limits.turn_bytes" in (saved.reason or "")
        session.history.clear()
        for _ in range(5):
            ask(session, "x" * 700)
            saved = await manager.save_session(session)
        assert saved.outcome == "refused"
        assert "the limit is 8,000" in (saved.reason or "")
        assert f"fork_session({session.id!r}, last=20)" in (saved.reason or "")
        fork = await manager.fork_session(session.id, last=1)
        await save(manager, fork, "goes on")

    async def test_health(self, manager: SessionManager) -> None:
        """A store that serves is ok, and says what it is and how fast it answered."""
        health = await manager.health()
        assert (health.state, health.store, health.where) == ("ok", manager.store.name, manager.store.where)
        assert health.error is None
        assert health.latency_ms is not None
        assert health.facts

    async def test_nothing_said_is_logged(self, manager: SessionManager, caplog: pytest.LogCaptureFixture) -> None:
        """What is said in conversations is not in the logs, not even when it is refused."""
        caplog.set_level(logging.DEBUG)
        session = await saved_conversation(manager, "a secret question")
        session.context["secret"] = {"a secret value"}
        await manager.save_session(session)
        assert "secret" not in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    turns=st.lists(st.sampled_from(["named", "nameless", "same"]), max_size=8),
    splits=st.sets(st.integers(0, 8)),
    reloads=st.sets(st.integers(0, 8)),
    last=st.none() | st.integers(0, 3),
    alternate=st.booleans(),
)
async def test_any_split_into_saves(
    world: World, turns: list[str], splits: set[int], reloads: set[int], last: int | None, alternate: bool
) -> None:
    """However a conversation is split into saves and loads, by one manager or two, the session is the same."""
    holder, next_one = SessionManager(world.store), SessionManager(world.open())
    session = conversation(id=uuid4().hex)
    await save(holder, session)
    expected = []
    for place, kind in enumerate(turns):
        turn: dict[str, Any] = (
            {"role": "user"} if kind == "same" else {"role": "user", "content": f"{place}\n]}},\n"}
        )
        expected.append(turn if kind != "named" else {"id": str(place), **turn})
        session.history.append(dict(expected[-1]))
        session.context[str(place)] = place
        if place in splits:
            await save(holder, session)
        if place in splits & reloads:
            holder, next_one = (next_one, holder) if alternate else (holder, next_one)
            session = await load(holder, session.id, last=last)
    await save(holder, session)
    again = await load(next_one, session.id)
    assert list(again.history) == expected
    assert again.context == {str(place): place for place in range(len(turns))}


async def test_negative_last(manager: SessionManager) -> None:
    """A negative number of turns is refused."""
    with pytest.raises(BadInput, match="last"):
        await manager.load("s", last=-1)
