"""While Redis is away everything goes on; when it is back it gets everything, once and in order."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentic_flywheel import Execution, SessionManager, UniversalSession
from agentic_flywheel.errors import SessionNotFound, StoreError, Unavailable
from agentic_flywheel.resilience import journal_file
from tests.resilience.outage import (
    Outage,
    ask,
    asked_in,
    conversation,
    journalled,
    nobody_replays,
    outage_on,
    save,
    until,
    until_open,
    until_replayed,
)
from tests.stores.test_sqlite import ROOT
from tests.support.servers import Server
from tests.support.values import questions

PATIENCE = 60.0


async def list_ids(manager: SessionManager) -> list[str]:
    return [summary.id for summary in await manager.list_sessions()]


class TestStoredJournalledStored:
    async def test_killed_and_restarted(self, outage: Outage) -> None:
        """What is saved is stored, journalled while Redis is dead, and stored again; Redis ends with all of it."""
        manager = outage.open()
        session = conversation(id="s")
        outcomes = [(await save(manager, session, 1)).outcome]
        outage.server.kill()
        outcomes += [(await save(manager, session, number)).outcome for number in (2, 3)]
        outage.server.restart()
        await until_replayed(manager)
        outcomes.append((await save(manager, session, 4)).outcome)
        assert outcomes == ["stored", "journalled", "journalled", "stored"]
        assert await asked_in(outage, "s") == [1, 2, 3, 4]
        assert questions(session) == [1, 2, 3, 4]

    async def test_a_session_that_begins_while_away(self, outage: Outage) -> None:
        """A session that was begun while Redis was dead is in Redis afterwards, whole."""
        outage.server.kill()
        manager = outage.open()
        session = conversation(1, id="s", context={"topic": "x"})
        for number in (2, 3):
            assert (await save(manager, session, number)).outcome == "journalled"
        outage.server.restart()
        await until_replayed(manager)
        document = await outage.document("s")
        assert document is not None
        assert (questions(document), document.context) == ([1, 2, 3], {"topic": "x"})
        assert (await manager.load("s")).behind is False

    async def test_no_caller_waits_while_it_is_open(self, outage: Outage) -> None:
        """With a server that never answers, saves behind the first few cost no budget; all are accepted."""
        manager = outage.open()
        session = conversation(id="s")
        await save(manager, session, 0)
        outage.proxy.blackhole()
        await until_open(manager)
        start = time.monotonic()
        for number in range(1, 101):
            assert (await save(manager, session, number)).outcome == "journalled"
        assert time.monotonic() - start < 100 * 0.05, "a fraction of the budget each"
        await outage.proxy.pass_through()
        await until_replayed(manager)
        assert await asked_in(outage, "s") == list(range(101))

    async def test_a_lost_answer(self, outage: Outage) -> None:
        """A write that was applied and whose answer was lost, however often, is there once."""
        manager = outage.open()
        session = conversation(id="s")
        await save(manager, session, 0)
        for number in range(1, 11):
            outage.proxy.cut_answer(times=number % 4, of=b"EVALSHA")
            await save(manager, session, number)
        outage.proxy.halve_answer(times=2, of=b"EVALSHA")
        await save(manager, session, 11)
        await outage.proxy.pass_through()
        await until_replayed(manager)
        assert await asked_in(outage, "s") == list(range(12))
        assert questions(session) == list(range(12))

    async def test_a_write_that_is_applied_late(self, outage: Outage) -> None:
        """A write that was sent before the server was stopped is applied after it and replayed, and there once."""
        manager = outage.open()
        session = conversation(id="s")
        await save(manager, session, 0)
        outage.server.pause()
        for number in (1, 2, 3):
            assert (await save(manager, session, number)).outcome == "journalled"
        outage.server.resume()
        await until_replayed(manager)
        assert await asked_in(outage, "s") == [0, 1, 2, 3]

    async def test_order_while_replaying(self, outage: Outage) -> None:
        """Writers who go on while the journal is replayed keep their order, and so do all of their sessions."""
        manager = outage.open()
        sessions = [conversation(id=f"s{number}") for number in range(10)]
        for session in sessions:
            await save(manager, session, 0)
        outage.server.kill()
        for number in range(1, 40):
            await asyncio.gather(*(save(manager, session, number) for session in sessions))
        outage.server.restart()
        number = 40
        while (await manager.health()).state != "ok" or number < 80:
            await asyncio.gather(*(save(manager, session, number) for session in sessions))
            number += 1
        await until_replayed(manager)
        for session in sessions:
            assert await asked_in(outage, session.id) == list(range(number))

    async def test_two_managers_on_one_session(self, outage: Outage) -> None:
        """Two processes that hold one session through an outage both keep every turn, each in its order."""
        one, two = outage.open(), outage.open()
        await save(one, conversation(id="s"))
        held = [(manager, await manager.require("s")) for manager in (one, two)]
        for number in range(20):
            if number == 5:
                outage.server.kill()
            if number == 15:
                outage.server.restart()
            for name, (manager, session) in zip("ab", held, strict=True):
                await save(manager, session, f"{name}{number}")
        for manager, _ in held:
            await until_replayed(manager)
        asked = await asked_in(outage, "s")
        assert len(asked) == 40
        for name in "ab":
            assert [question for question in asked if str(question).startswith(name)] == [
                f"{name}{number}" for number in range(20)
            ]

    async def test_a_long_backlog_is_replayed_soon(self, outage: Outage) -> None:
        """A thousand turns that wait are in Redis soon after it is back."""
        manager = outage.open()
        outage.server.kill()
        sessions = [conversation(id=f"s{number}") for number in range(20)]
        for number in range(50):
            await asyncio.gather(*(save(manager, session, number) for session in sessions))
        outage.server.restart()
        start = time.monotonic()
        await until_replayed(manager)
        assert time.monotonic() - start < 15
        for session in sessions:
            assert await asked_in(outage, session.id) == list(range(50))

    async def test_executions(self, outage: Outage) -> None:
        """An execution that is saved again while its first state waits ends as it was saved last."""
        manager = outage.open()
        outage.server.kill()
        execution = Execution(id="e", session_id="s", flow_id="f", status="running", question="q")
        assert (await manager.save_execution(execution)).outcome == "journalled"
        outage.server.restart()
        execution.status = "completed"
        assert await manager.save_execution(execution)
        await until_replayed(manager)
        loaded = await manager.load_execution("e")
        assert loaded is not None
        assert loaded.status == "completed"
        assert [entry["status"] for entry in await manager.load_history("s", "f")] == ["completed"]

    async def test_without_a_journal(self, outage: Outage) -> None:
        """With the journal switched off a save is refused with the reason, and stores again when Redis is back."""
        manager = outage.open(enabled=False)
        session = conversation(1, id="s")
        await save(manager, session)
        outage.server.kill()
        saved = await manager.save_session(ask(session, 2))
        assert (saved.outcome, "cannot be reached" in (saved.reason or "")) == ("refused", True)
        await until_open(manager)
        outage.server.restart()

        async def stored() -> bool:
            return (await manager.save_session(session)).outcome == "stored"

        await until(stored)
        assert await asked_in(outage, "s") == [1, 2]


class TestReadYourOwnWrites:
    async def test_loading(self, outage: Outage) -> None:
        """What was stored and what waits is loaded as one, is marked as behind, and can be gone on with."""
        manager = outage.open()
        session = conversation(1, 2, id="s", context={"a": 1})
        await save(manager, session)
        outage.server.kill()
        session.context["b"] = 2
        await save(manager, session, 3)
        loaded = await manager.load("s")
        assert loaded.behind
        assert loaded.session is not None
        assert (questions(loaded.session), loaded.session.context) == ([1, 2, 3], {"a": 1, "b": 2})
        await save(manager, loaded.session, 4)
        assert await asked_in(manager, "s") == [1, 2, 3, 4]
        last = (await manager.load("s", last=1)).session
        assert last is not None
        assert (questions(last), last.history.older) == ([4], 3)
        outage.server.restart()
        await until_replayed(manager)
        assert await asked_in(outage, "s") == [1, 2, 3, 4]
        assert not (await manager.load("s")).behind

    async def test_listing(self, outage: Outage) -> None:
        """What this machine touched is listed, those that were begun meanwhile too, in Redis or not yet."""
        manager = outage.open()
        await save(manager, conversation(1, id="old"))
        await save(manager, conversation(1, id="older"))
        outage.server.kill()
        await save(manager, conversation(1, id="new"))
        old = await manager.require("old")
        await save(manager, old, 2)
        assert await list_ids(manager) == ["old", "new", "older"]
        assert [summary.turns for summary in await manager.list_sessions()] == [2, 1, 1]
        outage.server.restart()
        await until_replayed(manager)
        assert await list_ids(manager) == ["old", "new", "older"]

    async def test_executions(self, outage: Outage) -> None:
        """Executions and histories that wait are read, also once Redis is back and does not have them yet."""
        manager = outage.open()
        await save(manager, conversation(1, id="s"))
        outage.server.kill()
        session = ask(await manager.require("s"), 2)
        await save(manager, session)
        turn_id = session.history[-1]["id"]
        execution = await manager.load_execution(turn_id)
        assert execution is not None
        assert execution.question == 2
        assert [entry["question"] for entry in await manager.load_history("s", "f")][-1] == 2
        async with nobody_replays(manager):
            outage.server.restart()

            async def is_back() -> bool:
                return (await manager.health()).state == "replaying"

            await until(is_back)
            execution = await manager.load_execution(turn_id)
            assert execution is not None
            assert [entry["question"] for entry in await manager.load_history("s", "f")] == [1, 2]
            assert [summary.turns for summary in await manager.list_sessions()] == [2]
            assert await asked_in(manager, "s") == [1, 2]
        await until_replayed(manager)
        assert [entry["question"] for entry in await manager.load_history("s", "f")] == [1, 2]

    async def test_another_process(self, outage: Outage) -> None:
        """A second process on the machine knows what the first one stored, and what it journalled."""
        first, second = outage.open(), outage.open()
        session = conversation(1, id="s")
        await save(first, session)
        await journalled(first).knowledge.write_down()  # it would a moment later by itself
        outage.server.kill()
        assert await asked_in(second, "s") == [1]
        await save(first, session, 2)
        theirs = await second.require("s")
        assert questions(theirs) == [1, 2]
        await save(second, theirs, 3)
        await save(first, session, 4)
        assert await asked_in(first, "s") == [1, 2, 3, 4]
        outage.server.restart()
        await until_replayed(first)
        await until_replayed(second)
        assert await asked_in(outage, "s") == [1, 2, 3, 4]

    async def test_what_was_stored_just_before(self, outage: Outage) -> None:
        """A process that dies as soon as a turn of it waits leaves the others what it stored before, too."""
        dying = outage.open()
        session = conversation(1, id="s")
        assert (await save(dying, session)).outcome == "stored"
        outage.server.kill()
        assert (await save(dying, session, 2)).outcome == "journalled"
        assert await asked_in(outage.open(), "s") == [1, 2]  # it has written down by itself nothing yet

    async def test_the_later_knowledge_counts(self, outage: Outage) -> None:
        """A process that saw a session long ago recalls what another one has written since."""
        first, second = outage.open(), outage.open()
        session = conversation(1, id="s")
        await save(first, session)
        await second.require("s")
        await save(first, session, 2)
        for manager in (first, second):
            await journalled(manager).knowledge.write_down()
        outage.server.kill()
        assert await asked_in(second, "s") == [1, 2]

    async def test_what_another_process_replayed(self, outage: Outage) -> None:
        """Who replays the turns of another process knows those before them, too, when Redis goes away again."""
        first = outage.open()
        session = conversation(1, 2)
        await save(first, session)
        outage.server.kill()
        await save(first, session, 3)
        await first.close()
        outage.server.restart()
        second = outage.open()
        await second.health()
        await until_replayed(second)
        outage.server.kill()
        assert await asked_in(second, session.id) == [1, 2, 3]

    async def test_a_process_that_begins_to_replay(self, outage: Outage) -> None:
        """What another one left waiting is known before anything is read, though its own replay is under way."""
        first = outage.open()
        session = conversation(1)
        await save(first, session)
        outage.server.kill()
        await save(first, session, 2)
        await first.close()
        outage.server.restart()
        async with nobody_replays(first):
            second = outage.open()
            journalled(second).replayer.start()
            assert await asked_in(second, session.id) == [1, 2]

    async def test_a_process_that_is_to_replay(self, outage: Outage) -> None:
        """What another one leaves waiting meanwhile is known: the store may be back before the next look."""
        first, second = outage.open(), outage.open()
        session = conversation(1)
        await save(first, session)
        outage.server.kill()
        await save(second, conversation(0), 1)  # so that it is at work
        replayer = journalled(second).replayer
        assert not await replayer.holds(session.id)
        assert replayer.is_at_work
        await save(first, session, 2)
        await until(lambda: replayer.holds(session.id))  # a file's time has ticks

    async def test_a_head_alone(self, outage: Outage) -> None:
        """To have read no turn of what others added costs none of those that are known."""
        first, second = outage.open(), outage.open()
        session = conversation(1, 2)
        await save(first, session)
        await save(second, await second.require(session.id), 3)
        await first.load(session.id, last=0)
        outage.server.kill()
        assert await asked_in(first, session.id) == [1, 2]

    async def test_after_a_restart_of_the_process(self, outage: Outage) -> None:
        """A process that is started during the outage knows what was stored and what waits, and replays it."""
        first = outage.open()
        session = conversation(1, id="s")
        await save(first, session)
        outage.server.kill()
        await save(first, session, 2)
        await first.close()
        second = outage.open()
        assert await list_ids(second) == ["s"]
        loaded = await second.load("s")
        assert loaded.behind
        assert loaded.session is not None
        assert questions(loaded.session) == [1, 2]
        outage.server.restart()
        await until_replayed(second)
        assert await asked_in(outage, "s") == [1, 2]

    async def test_what_nobody_knows_here(self, outage: Outage) -> None:
        """A session that this machine never touched is unavailable, not absent."""
        outage.server.kill()
        manager = outage.open()
        for _ in range(5):
            loaded = await manager.load("s")
            assert (loaded.state, loaded.session) == ("unavailable", None)
        assert await manager.load_session("s") is None
        with pytest.raises(StoreError):
            await manager.load_execution("e")

    async def test_edits_of_what_is_known_in_part(self, outage: Outage) -> None:
        """An edit of an earlier turn, where not all turns can be read now, is refused: nothing is written over."""
        manager = outage.open()
        await save(manager, conversation(*range(30), id="s"))
        session = await manager.load_session("s", last=2)
        assert session is not None
        await journalled(manager).knowledge.forget("s")
        session.history[0]["response"] = "edited"
        outage.server.kill()
        await save(manager, conversation(1, id="t"))
        loaded = await manager.load_session("t")
        assert loaded is not None
        saved = await manager.save_session(session)
        assert saved.outcome == "refused"
        outage.server.restart()
        await until_replayed(manager)
        await save(manager, session)
        assert await asked_in(outage, "s") == list(range(30))


class TestDeletion:
    async def test_while_away(self, outage: Outage) -> None:
        """What is deleted while Redis is away is absent at once, in a second process too, and then there."""
        manager, second = outage.open(), outage.open()
        await save(manager, conversation(1, id="s"))
        await save(manager, conversation(1, id="t"))
        outage.server.kill()
        assert await manager.delete_session("s")
        for each in (manager, second):
            assert (await each.load("s")).state == "absent"
            assert await list_ids(manager) == ["t"]
        with pytest.raises(SessionNotFound):
            await manager.require_or_stand_in("s", "custom")
        outage.server.restart()
        await until_replayed(manager)
        assert await outage.document("s") is None
        assert await outage.document("t") is not None

    async def test_a_late_writer(self, outage: Outage) -> None:
        """Who still holds a session that was deleted is told, while Redis is away and after; it stays deleted."""
        manager = outage.open()
        held = conversation(1, id="s")
        await save(manager, held)
        outage.server.kill()
        await save(manager, held, 2)
        assert await manager.delete_session("s")
        saved = await manager.save_session(ask(held, 3))
        assert (saved.outcome, "deleted" in (saved.reason or "")) == ("refused", True)
        outage.server.restart()
        await until_replayed(manager)
        assert await outage.document("s") is None
        assert (await manager.save_session(held)).outcome == "refused"
        assert await outage.document("s") is None

    async def test_against_the_journal(self, outage: Outage) -> None:
        """A session that is deleted in Redis while its turns wait elsewhere is not brought back by them."""
        away = outage.open()
        held = conversation(1, id="s")
        await save(away, held)
        outage.proxy.refuse()
        outage.proxy.reset()
        assert (await save(away, held, 2)).outcome == "journalled"
        elsewhere = Outage(outage.server, outage.proxy, outage.folder / "elsewhere")
        settings = elsewhere.settings()
        direct = SessionManager(type(journalled(away).inner.inner)(outage.server.url))  # type: ignore[call-arg]  # a RedisStore
        assert settings.state_dir != str(outage.folder)
        assert await direct.delete_session("s")
        await direct.close()
        await elsewhere.close()
        await outage.proxy.pass_through()
        await until_replayed(away)
        assert await outage.document("s") is None
        assert (await away.health()).refused == 0

    async def test_a_new_conversation_of_the_name(self, outage: Outage) -> None:
        """A session that is begun anew under the name of a deleted one is there, without the old turns."""
        manager = outage.open()
        await save(manager, conversation(1, id="s"))
        outage.server.kill()
        await manager.delete_session("s")
        await save(manager, conversation(2, id="s"), 3)
        assert await asked_in(manager, "s") == [2, 3]
        outage.server.restart()
        await until_replayed(manager)
        assert await asked_in(outage, "s") == [2, 3]


class TestEntriesThatCannotBeReplayed:
    async def test_too_large(self, outage: Outage) -> None:
        """What makes a session too large is set aside with the reason; the rest of it, and others, are stored."""
        manager = outage.open()
        session, other = conversation(1, id="s"), conversation(1, id="t")
        await save(manager, session)
        await save(manager, other)
        outage.server.kill()
        await save(manager, session, 2)
        await save(manager, session, "x" * 900_000)
        await save(manager, session, 3)
        await save(manager, session, "y" * 900_000)
        await save(manager, session, 4)
        await save(manager, other, 2)
        outage.server.restart()
        health = await until_replayed(manager)
        assert health.refused > 0
        reasons = [entry.refused async for entry in journalled(manager).journal.entries(refused=True)]
        assert all("limit is 1,000,000" in str(reason) for reason in reasons)
        assert [q if isinstance(q, int) else "x" for q in await asked_in(outage, "s")] == [1, 2, 3, 4]
        assert await asked_in(outage, "t") == [1, 2]

    async def test_damaged(self, outage: Outage) -> None:
        """Entries whose bytes are damaged, and those that make no sense, are set aside and block nobody."""
        manager = outage.open()
        session = conversation(id="s")
        await save(manager, session, 1)
        outage.server.kill()
        for number in (2, 3, 4, 5):
            await save(manager, session, number)
        store = journalled(manager)
        await manager.close()  # nothing is being replayed while we do the damage
        await store.journal.call(lambda db: db.execute("UPDATE entries SET data = x'ff00' WHERE place = 2"))
        await store.journal.call(lambda db: db.execute("UPDATE entries SET kind = 'riddle' WHERE place = 4"))
        outage.server.restart()
        health = await until_replayed(manager)
        assert health.refused == 2
        assert [entry.place async for entry in store.journal.entries(refused=True)] == [2, 4]
        assert await asked_in(outage, "s") == [1, 2, 4]
        await save(manager, session, 6)
        assert await asked_in(outage, "s") == [1, 2, 3, 4, 5, 6], "the process still holds them"

    async def test_a_damaged_document(self, outage: Outage) -> None:
        """What is damaged in Redis when the journal is replayed is moved aside, and the session goes on."""
        manager = outage.open()
        session = conversation(1, id="s")
        await save(manager, session)
        outage.proxy.refuse()
        outage.proxy.reset()
        await save(manager, session, 2)
        await outage.raw.set("agentic_flywheel:session:s", b"{ truncat")
        await outage.proxy.pass_through()
        await until_replayed(manager)
        assert await asked_in(outage, "s") == [1, 2]
        assert list((await manager.store.aside("s")).values()) == [b"{ truncat"]

    async def test_a_newer_document(self, outage: Outage) -> None:
        """Turns for a session that a newer version wrote meanwhile are kept aside; its document is left alone."""
        manager = outage.open()
        session = conversation(1, id="s")
        await save(manager, session)
        outage.proxy.refuse()
        outage.proxy.reset()
        await save(manager, session, 2)
        newer = b'{"schema":2,"backend":"x","id":"s","history":[]}'
        await outage.raw.set("agentic_flywheel:session:s", newer)
        await outage.proxy.pass_through()
        assert (await until_replayed(manager)).refused == 1
        assert await outage.raw.get("agentic_flywheel:session:s") == newer


class TestJournalsInTrouble:
    @pytest.mark.parametrize("trouble", ["newer", "folder", "garbage"])
    async def test_redis_serves(self, outage: Outage, trouble: str) -> None:
        """A journal that cannot be used keeps nobody from a Redis that answers."""
        manager = outage.open()
        path = journalled(manager).journal.path
        path.parent.mkdir(parents=True)
        match trouble:
            case "folder":
                path.mkdir()
            case "garbage":
                path.write_bytes(b"garbage " * 1000)
            case _:
                await journalled(manager).journal.call(lambda db: db.execute("PRAGMA user_version = 99"))
                await journalled(manager).journal.close()
        session = conversation(1, id="s")
        assert (await save(manager, session)).outcome == "stored"
        assert (await save(manager, session, 2)).outcome == "stored"
        assert await asked_in(manager, "s") == [1, 2]
        assert await list_ids(manager) == ["s"]
        assert await manager.delete_session("s")

    @pytest.mark.parametrize("trouble", ["newer", "folder", "full"])
    async def test_both_away(self, outage: Outage, trouble: str) -> None:
        """With Redis and the journal both away a save is refused and says why both are; nothing is lost."""
        manager = outage.open(limit_bytes=1000) if trouble == "full" else outage.open()
        journal = journalled(manager).journal
        session = conversation(1, id="s")
        await save(manager, session)
        if trouble == "folder":
            journal.path.mkdir(parents=True)
        elif trouble == "newer":
            await journal.call(lambda db: db.execute("PRAGMA user_version = 99"))
            await journal.close()
        outage.server.kill()
        saved = await manager.save_session(ask(session, "2" * 2000))
        assert saved.outcome == "refused"
        assert "cannot be reached" in (saved.reason or "")
        assert {"newer": "upgrade", "folder": "FLYWHEEL_STATE_DIR", "full": "journal.limit_bytes"}[trouble] in (
            saved.reason or ""
        )
        assert (await manager.load("nobody")).state == "unavailable"
        assert (await manager.health()).state == "unavailable"
        outage.server.restart()

        async def stored() -> bool:
            return (await manager.save_session(session)).outcome == "stored"

        await until(stored)
        assert await asked_in(outage, "s") == [1, "2" * 2000]

    async def test_the_trouble_is_told_once(self, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
        """A journal that cannot be read is told in the log once, and by every look at the health."""
        manager = outage.open()
        await journalled(manager).journal.call(lambda db: db.execute("PRAGMA user_version = 99"))
        await journalled(manager).journal.close()
        session = conversation(id="s")
        for number in range(20):
            await save(manager, session, number)
        assert sum("upgrade" in record.getMessage() for record in caplog.records) == 1
        assert "upgrade" in ((await manager.health()).error or "")


class TestProcesses:
    async def test_closing_and_the_next_process(self, outage: Outage) -> None:
        """What waits when a process ends is replayed by the next one, or by one that runs already."""
        first, running = outage.open(), outage.open()
        session = conversation(id="s")
        await save(first, session, 1)
        await save(running, conversation(1, id="t"))
        outage.proxy.refuse()
        outage.proxy.reset()
        await save(first, session, 2)
        await first.close()
        await outage.proxy.pass_through()
        await running.load("t")  # any call will do
        await until_replayed(running)
        assert await asked_in(outage, "s") == [1, 2]

    async def test_several_event_loops(self, outage: Outage) -> None:
        """One manager serves several runs of an event loop, before, in and after an outage."""
        code = (
            "import asyncio, sys\nfrom agentic_flywheel import UniversalSession\n"
            "from agentic_flywheel.config import *\nfrom agentic_flywheel.wiring import open_manager\n"
            "manager = open_manager(Settings(store=StoreSettings(url=sys.argv[1]), state_dir=sys.argv[2]))\n"
            "session = UniversalSession(backend='custom', id='s')\n"
            "async def two_at_once(question):\n"
            "    session.record(question=question, response='r', flow_id='f')\n"
            "    saves = await asyncio.gather(*(manager.save_session(session) for _ in range(2)))\n"
            "    return saves[0].outcome\n"
            "async def wait():\n"
            "    while (health := await manager.health()).state != 'ok' or health.pending:\n"
            "        await asyncio.sleep(0.01)\n"
            "    return 'ok'\n"
            "for line in sys.stdin:\n"
            "    work = line.strip()\n"
            "    print(asyncio.run(wait() if work == 'wait' else two_at_once(int(work))), flush=True)\n"
            "asyncio.run(manager.close())\n"
        )
        command = [sys.executable, "-c", code, outage.proxy.url, str(outage.folder)]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        said = [await self.tell(process, work) for work in ("1", "2")]
        outage.server.kill()
        said += [await self.tell(process, work) for work in ("3", "4")]
        outage.server.restart()
        said += [await self.tell(process, work) for work in ("wait", "5")]
        await process.communicate(b"")
        assert process.returncode == 0
        assert said == ["stored", "stored", "journalled", "journalled", "ok", "stored"]
        assert await asked_in(outage, "s") == [1, 2, 3, 4, 5]

    async def tell(self, process: asyncio.subprocess.Process, work: str) -> str:
        """What a process says when it is told what to do."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{work}\n".encode())
        return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().strip()

    async def test_two_machines_with_one_journal(self, server: Server, outage: Outage, tmp_path: Path) -> None:
        """A journal that was copied to a second machine is replayed by both at once: each turn is there once."""
        first = outage.open()
        sessions = [conversation(0, id=f"s{number}") for number in range(10)]
        for session in sessions:
            await save(first, session)
        outage.server.kill()
        for number in range(1, 30):
            for session in sessions:
                await save(first, session, number)
        await first.close()
        shutil.copytree(outage.folder, tmp_path / "copy")
        async with outage_on(server, tmp_path / "copy") as copy:
            copy.proxy.port = outage.proxy.port  # the journal's name comes from the URL
            managers = [outage.open(), copy.open()]
            outage.server.restart()
            for manager in managers:
                assert (await manager.health()).pending > 0
            for manager in managers:
                await until_replayed(manager)
            for session in sessions:
                assert await asked_in(outage, session.id) == list(range(30))

    async def test_a_process_that_is_killed_while_it_replays(self, outage: Outage) -> None:
        """Processes that are killed in the middle of a replay leave the rest to the next; each turn is once."""
        manager = outage.open()
        outage.server.kill()
        sessions = [conversation(id=f"s{number}") for number in range(20)]
        for number in range(30):
            await asyncio.gather(*(save(manager, session, number) for session in sessions))
        await manager.close()
        outage.server.restart()
        settings = json.dumps([outage.proxy.url, str(outage.folder)])
        code = (
            "import asyncio, json, sys\nfrom agentic_flywheel.config import *\n"
            "from agentic_flywheel.wiring import open_manager\nurl, folder = json.loads(sys.argv[1])\n"
            "async def replay():\n"
            "    manager = open_manager(Settings(store=StoreSettings(url=url), state_dir=folder))\n"
            "    while True:\n        print((await manager.health()).pending, flush=True)\n"
            "        await asyncio.sleep(0)\n"
            "asyncio.run(replay())"
        )
        outage.proxy.delay(0.005)
        for lines_read in (1, 2, 3, 4, 5):
            command = [sys.executable, "-c", code, settings]
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
            assert process.stdout is not None
            for _ in range(lines_read):
                await process.stdout.readline()
            process.kill()
            await process.communicate()
        outage.proxy.delay(0)
        await until_replayed(last := outage.open())
        assert (await last.health()).refused == 0
        for session in sessions:
            assert await asked_in(outage, session.id) == list(range(30))

    async def test_a_caller_who_is_cancelled(self, outage: Outage) -> None:
        """A save that is cancelled at any moment of an outage is there at most once, and blocks nothing."""
        manager = outage.open()
        session = conversation(id="s")
        await save(manager, session, 0)
        outage.server.kill()
        for steps in range(40):
            saving = asyncio.create_task(manager.save_session(ask(session, steps + 1)))
            for _ in range(steps):
                await asyncio.sleep(0)
            saving.cancel()
            await asyncio.wait((saving,))
        await save(manager, session, 41)
        outage.server.restart()
        await until_replayed(manager)
        assert await asked_in(outage, "s") == list(range(42))

    async def test_a_caller_who_is_cancelled_while_it_looks(self, outage: Outage) -> None:
        """What another process accepted is noticed also where the caller is gone who was about to notice it."""
        first, second = outage.open(), outage.open()
        session = conversation(1)
        await save(first, session)
        await journalled(first).journal.pending()  # so that it has the file open
        same = await second.require(session.id)
        outage.proxy.refuse()
        outage.proxy.reset()
        await save(second, same, 2)
        await second.close()
        await outage.proxy.pass_through()
        looking = asyncio.create_task(first.load(session.id))
        await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait((looking,))
        assert await asked_in(first, session.id) == [1, 2]


class TestFormats:
    def test_joined_changes_keep_the_epoch_of_the_first(self) -> None:
        """What is made of several entries is what each of their writers goes on from."""
        from agentic_flywheel.resilience.knowledge import pending_mark
        from agentic_flywheel.resilience.replay import steps_of
        from tests.stores.sessions import creation, following

        first = creation("s", 1)
        second = following(first, pending_mark(first), 2)
        entries = [
            journal_file.Entry(place, "s", "change", 0.0, journal_file._encoder.encode(change))
            for place, change in enumerate((first, second))
        ]
        (step,) = steps_of(entries)
        assert step.work is not None
        mark = pending_mark(step.work)  # type: ignore[arg-type]  # it is a change
        assert (mark.version, mark.epoch) == (second.version, pending_mark(first).epoch)

    def test_a_session_is_whole_after_a_copy(self) -> None:
        """A session that was held through an outage copies like any other."""
        session = conversation(1, 2)
        assert questions(UniversalSession.from_json(session.to_json())) == [1, 2]


async def test_a_listing_of_nothing_is_no_answer_of_a_store_that_is_away(outage: Outage) -> None:
    """A machine that knows of no session cannot say that there is none."""
    outage.server.kill()
    with pytest.raises(Unavailable):
        await outage.open().list_sessions()


async def test_another_process_lists_what_waits(outage: Outage) -> None:
    """Also while Redis answers, and takes no writes: a process that has used nothing yet looks into the journal."""
    await outage.raw.config_set("maxmemory", 1)
    assert (await save(outage.open(), conversation(1, id="s"))).outcome == "journalled"
    assert await list_ids(outage.open()) == ["s"]
    await outage.raw.config_set("maxmemory", 0)
