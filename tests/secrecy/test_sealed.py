"""With a master key, what is stored can be read with it and not without it, and everything goes on as before."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from msgspec.structs import replace

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.codec import title_of
from agentic_flywheel.config import EncryptionSettings, SecretSettings, Settings, StoreSettings
from agentic_flywheel.errors import ConfigError, Sealed, StoreError
from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.manager import Vault, erase_everything, hand_over, share
from agentic_flywheel.session import InFlight
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.deadline import within
from agentic_flywheel.stores.names import parts_of
from agentic_flywheel.stores.owned import acting_as
from agentic_flywheel.wiring import open_manager
from tests.resilience.outage import Outage, ask, asked_in, until_replayed
from tests.secrecy.conftest import MASTER, OLDER, Place
from tests.secrecy.planted import conversation, execution, found_in, put_copies, put_everything
from tests.support.bytes_kept import in_files, in_redis
from tests.support.values import questions

pytestmark = pytest.mark.usefixtures("encrypted")

WORDS = "elderberry wine"


def unmasked(settings: Settings) -> Settings:
    """So that only encryption stands between what is planted and the bytes."""
    return replace(settings, secrets=SecretSettings(mask=False))


def talk(*more: str, **fields: Any) -> UniversalSession:
    session = UniversalSession(backend="custom", current_flow_id="f", **fields)
    session.context["topic"] = f"the {WORDS}"
    session.metadata["title"] = WORDS
    return ask(session, f"is there {WORDS}?", *more)


def vault_of(manager: SessionManager) -> Vault:
    assert manager.forms.vault is not None
    return manager.forms.vault


async def test_nothing_can_be_read_in_what_is_kept(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Not in sessions, executions, histories, claims, nor in any file; no master key stands anywhere, either."""
    caplog.set_level(logging.DEBUG)
    async with open_manager(unmasked(place.settings)) as manager:
        session = await put_everything(manager)
        await put_copies(manager, session)
        await manager.save_session(talk())
        kept = await place.kept()
    kept += await place.kept() + caplog.text.encode()
    assert found_in(kept) == []
    assert WORDS.encode() not in kept
    assert MASTER.encode() not in kept
    assert b'"sealed"' in kept


async def test_all_comes_back(place: Place) -> None:
    """In another process: session, last turns, execution, history, claim, listing and fork."""
    async with open_manager(unmasked(place.settings)) as manager:
        session = conversation()
        session.backend_session_id = "at the server"
        run = execution(session)
        await manager.save_session(session, executions=[run])
        ask(session, "second")
        await manager.save_session(session)
        await manager.turns.claim(session.id, InFlight("turn_1", WORDS, "f"))
    async with open_manager(unmasked(place.settings)) as other:
        again = await other.require(session.id)
        assert again == session
        assert questions(await other.require(session.id, last=1)) == ["second"]
        assert await other.load_execution(run.id) == run
        assert [entry["question"] for entry in await other.load_history(session.id, "f")] == [
            run.question if entry["id"] == run.id else entry["question"]
            for entry in await other.load_history(session.id, "f")
        ]
        found = await other.turns.look(session.id)
        assert found is not None
        assert found.turn.question == WORDS
        (listed,) = await other.list_sessions()
        assert (listed.id, listed.turns, listed.current_flow_id, listed.title) == (
            session.id,
            2,
            "f",
            title_of(session),
        )
        fork = await other.fork_session(session.id)
        assert (await other.require(fork.id)).history == session.history


async def test_appends_stay_appends(place: Place) -> None:
    """A further turn adds a line: neither the head nor another line is written again; reading it parses none."""
    async with open_manager(place.settings) as manager:
        session = talk()
        await manager.save_session(session)
        before = await manager.store.read(session.id)
        ask(session, "and mead?")
        await manager.save_session(session)
        after = await manager.store.read(session.id)
        assert before is not None
        assert after is not None
        assert (after.mark.epoch, after.head) == (before.mark.epoch, before.head)
        assert after.lines[0] == before.lines[0]
        assert decode(after.lines[1]).keys() == {"id", "timestamp", "sealed"}


async def test_writers_merge_without_a_key(place: Place) -> None:
    """Two processes change one session: turns and context keys of both are there, and a deleted key is gone."""
    async with open_manager(place.settings) as one, open_manager(place.settings) as two:
        session = talk()
        session.context |= {"old": 1, "kept": 2}
        await one.save_session(session)
        theirs = await two.require(session.id)
        theirs.context["by two"] = WORDS
        del theirs.context["old"]
        ask(theirs, "from two")
        await two.save_session(theirs)
        session.context["by one"] = [WORDS]
        ask(session, "from one")
        assert await one.save_session(session)
        assert session.context == {"topic": f"the {WORDS}", "kept": 2, "by two": WORDS, "by one": [WORDS]}
        again = await two.require(session.id)
        assert again == session
        assert questions(again)[1:] == ["from two", "from one"]


async def test_edited_turns_are_written_again(place: Place) -> None:
    async with open_manager(place.settings) as manager:
        session = talk("second")
        await manager.save_session(session)
        again = await manager.require(session.id)
        again.history[0]["response"] = "another"
        await manager.save_session(again)
        assert (await manager.require(session.id)).history[0].response == "another"
        assert WORDS.encode() not in await place.kept()


async def test_a_history_of_another_session_is_sealed_anew(place: Place) -> None:
    """What a session takes over from another one can be read with its own keys."""
    async with open_manager(place.settings) as manager:
        session, other = talk(), talk("from the other")
        for each in (session, other):
            assert await manager.save_session(each)
        session.history = (await manager.require(other.id)).history
        assert await manager.save_session(session)
        assert questions(session) == questions(other)
    async with open_manager(place.settings) as again:
        assert questions(await again.require(session.id)) == questions(other)


async def test_turns_without_an_id_are_known(place: Place) -> None:
    """Others write such; what is said twice is there twice, and a write that is repeated is there once."""
    async with open_manager(place.settings) as one, open_manager(place.settings) as two:
        session = UniversalSession(backend="custom")
        session.history.append({"role": "user", "content": WORDS})
        session.history.append({"role": "user", "content": WORDS})
        await one.save_session(session)
        theirs = await two.require(session.id)
        theirs.history.append({"role": "user", "content": "more"})
        await two.save_session(theirs)
        session.history.append({"role": "user", "content": "ours"})
        await one.save_session(session)
        assert [turn["content"] for turn in (await two.require(session.id)).history] == [
            WORDS,
            WORDS,
            "more",
            "ours",
        ]


async def test_without_the_master_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is neither absent nor damaged; the error says what to do, and nothing is overwritten or moved aside."""
    async with open_manager(place.settings) as manager:
        session = talk()
        await manager.save_session(session)
        execution_id = session.history[0]["id"]
    for keys, advice in ((OLDER, "wrapped by the master key"), ("", "put it into FLYWHEEL_MASTER_KEYS")):
        monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", keys)
        async with open_manager(place.settings) as stranger:
            loaded = await stranger.load(session.id)
            assert loaded.state == "sealed"
            assert advice in str(loaded.reason)
            with pytest.raises(Sealed, match=advice):
                await stranger.require(session.id)
            with pytest.raises(Sealed, match=advice):
                await stranger.load_execution(execution_id)
            assert [(each.id, each.title) for each in await stranger.list_sessions()] == [(session.id, None)]
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", MASTER)
    async with open_manager(place.settings) as manager:
        assert await manager.require(session.id) == session


async def test_tampering_is_found(place: Place) -> None:
    """A sealed turn that is changed, or put into the place of another one or into another session, is damaged."""
    async with open_manager(place.settings) as manager:
        session, other = talk("second"), talk()
        await manager.save_session(session)
        await manager.save_session(other)
        stored = await manager.store.read(session.id)
        foreign = await manager.store.read(other.id)
        assert stored is not None
        assert foreign is not None
        first, second = map(decode, stored.lines)
        changed = (
            first["sealed"][:-8] + ("AAAA" if first["sealed"][-8:-4] != "AAAA" else "BBBB") + first["sealed"][-4:]
        )
        for forged in (
            {**first, "sealed": changed},
            {**first, "sealed": second["sealed"]},
            {**first, "timestamp": second["timestamp"]},
            {**first, "sealed": decode(foreign.lines[0])["sealed"]},
        ):
            form = await manager.forms.to_write(session.id)
            with pytest.raises(StoreError, match=r"changed since|key that it does not have"):
                form.read("turn", encode(forged))
        assert form.read("turn", stored.lines[0])["question"] == f"is there {WORDS}?"


async def test_erasing(place: Place) -> None:
    """A deleted session cannot be read any more, not even from a copy of all that was kept of it but its key."""
    async with open_manager(place.settings) as manager:
        session = talk()
        await manager.save_session(session)
        execution_id = session.history[0]["id"]
        backup = await manager.store.read(session.id)
        assert await manager.delete_session(session.id)
        assert backup is not None
        with pytest.raises(Sealed, match="erased"):
            await manager.forms.of_stored(session.id, backup)
        with pytest.raises(Sealed, match="erased"):
            await manager.load_execution(execution_id)
        assert (await manager.load(session.id)).state == "absent"
    async with open_manager(place.settings) as again:
        session = talk(id=session.id)
        assert await again.save_session(session)
        assert await again.require(session.id) == session


async def test_rotation(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new master key in front opens what the older one wrapped; after the rotation it does so alone."""
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", OLDER)
    session = talk()
    async with open_manager(place.settings) as manager:
        await manager.save_session(session)
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", f"{MASTER} {OLDER}")
    async with open_manager(place.settings) as manager:
        assert await manager.require(session.id) == session
        done = await vault_of(manager).rotate(manager, longest=100)
        assert (done.sessions, done.wrapped, done.failed) == (1, 1, {})
        assert (await vault_of(manager).rotate(manager, longest=100)).wrapped == 0
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", MASTER)
    async with open_manager(place.settings) as manager:
        assert await manager.require(session.id) == session
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", OLDER)
    async with open_manager(place.settings) as manager:
        assert (await manager.load(session.id)).state == "sealed"


async def test_keys_of_ended_sessions_expire(place: Place) -> None:
    """When their executions have; unless the session is begun again, or nothing ever expires."""
    async with open_manager(place.settings) as manager:
        session = talk()
        await manager.save_session(session)
        vault = vault_of(manager)
        assert (await vault.rotate(manager, longest=100)).ended == 0
        await manager.store.delete(session.id, deleted_at="2020-01-01T00:00:00Z", ttl=1)
        assert (await vault.rotate(manager, longest=0)).ended == 1
        assert (await vault.rings.require(session.id)).ttl_seconds is None
        await vault.rotate(manager, longest=100)
        assert (await vault.rings.require(session.id)).ttl_seconds == 100
        assert await manager.load_execution(session.history[0]["id"]) is not None
        await manager.save_session(talk(id=session.id))
        assert (await vault.rings.require(session.id)).ttl_seconds is None


async def test_sessions_from_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored in the clear is read and gone on with; what comes new is sealed."""
    monkeypatch.delenv("FLYWHEEL_MASTER_KEYS")
    session = talk()
    async with open_manager(place.settings) as manager:
        await manager.save_session(session)
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", MASTER)
    async with open_manager(place.settings) as manager:
        again = await manager.require(session.id)
        assert again == session
        ask(again, "and now?")
        await manager.save_session(again)
        stored = await manager.store.read(session.id)
        assert stored is not None
        assert b"and now?" not in stored.head + stored.lines[1]
        assert WORDS.encode() not in stored.head
        assert questions(await manager.require(session.id)) == [f"is there {WORDS}?", "and now?"]


async def test_the_journal_holds_nothing_readable(outage: Outage) -> None:
    """Sessions are gone on with and begun while Redis is away, and are all there, and sealed, when it is back."""
    manager = outage.open()
    known = talk()
    await manager.save_session(known)
    outage.server.kill()
    await manager.save_session(ask(known, "while away"))
    new = talk()
    assert (await manager.save_session(new)).outcome == "journalled"
    await manager.store.close()
    other = outage.open()
    assert await asked_in(other, new.id) == [f"is there {WORDS}?"]
    stand_in = await other.require_or_stand_in(known.id, "custom")
    assert await other.save_session(ask(stand_in, "from a process that knows no key"))
    assert WORDS.encode() not in in_files(outage.folder)
    outage.server.restart()
    await until_replayed(manager)
    await until_replayed(vault_of(manager).rings)
    await manager.close()
    assert WORDS.encode() not in in_files(outage.folder) + await in_redis(outage.server.url)
    fresh = outage.open()
    assert questions(await fresh.require(new.id)) == [f"is there {WORDS}?"]
    assert questions(await fresh.require(known.id)) == [
        f"is there {WORDS}?", "while away", "from a process that knows no key",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["short", "q" * 44, "ä", f"{MASTER},x"])
def test_what_is_no_master_key(text: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and never shown."""
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", text)
    with pytest.raises(ConfigError, match="is no master key: 32 bytes in base64") as refused:
        open_manager(Settings(state_dir=str(tmp_path)))
    assert text not in str(refused.value)


async def test_keys_from_a_file_and_elsewhere(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name a file with master keys, and another store for the keys of sessions."""
    monkeypatch.delenv("FLYWHEEL_MASTER_KEYS")
    (tmp_path / "master").write_text(f"{MASTER}\n{OLDER}\n")
    elsewhere = EncryptionSettings(keys_file=str(tmp_path / "master"), keys_url=f"sqlite://{tmp_path / 'k.db'}")
    settings = Settings(store=StoreSettings(url=f"sqlite://{tmp_path / 's.db'}"), encryption=elsewhere)
    async with open_manager(settings) as manager:
        session = talk()
        await manager.save_session(session)
        assert vault_of(manager).rings.store.where == str(tmp_path / "k.db")
        assert await manager.require(session.id) == session
    with within(1.0):
        monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", OLDER)
        async with open_manager(settings) as manager:
            assert (await manager.load(session.id)).state == "sealed"


ANNA, BEN = principal_of(None, "anna"), principal_of(None, "ben")


async def test_each_user_s_sessions_have_keys_of_their_own(place: Place) -> None:
    """Also two that have the same id; one user's are erased, and the other's are not."""
    async with open_manager(place.settings) as manager:
        for principal, words in ((ANNA, "hers"), (BEN, "his"), (ANNA, "hers, too")):
            with acting_as(principal):
                session = await manager.load_session("s") or UniversalSession(backend="custom", id="s")
                session.record(question=words, response="r", flow_id="f")
                assert (await manager.save_session(session)).outcome == "stored"
        async with open_manager(place.settings) as other:
            for principal, said in ((ANNA, ["hers", "hers, too"]), (BEN, ["his"])):
                with acting_as(principal):
                    session = await other.require("s")
                    assert [turn.question for turn in session.history] == said
                    found = await other.load_execution(str(session.history[0].id))
                    assert found is not None
                    assert found.question == said[0]
            assert await erase_everything(other, ANNA) > 1
            with acting_as(BEN):
                assert (await other.require("s")).history[0].question == "his"
        assert [parts_of(name)[0] async for (name,) in vault_of(manager).rings.store.names("session")] == [BEN]


async def test_what_is_given_to_another_user_can_be_read_by_them(place: Place) -> None:
    """Shared: with its owner's keys. Handed over: with new ones; those that it had are gone."""
    async with open_manager(place.settings) as manager:
        session = talk("and more?")
        with acting_as(ANNA):
            assert await manager.save_session(session)
            await share(manager, session.id, BEN, allowed=True)
        with acting_as(BEN):
            assert questions(await manager.require(session.id)) == questions(session)
            fork = await manager.fork_session(session.id)
            assert questions(await manager.require(fork.id)) == questions(session)
        with acting_as(ANNA):
            await hand_over(manager, session.id, BEN)
    async with open_manager(place.settings) as other:
        with acting_as(BEN):
            assert questions(await other.require(session.id)) == questions(session)
        with acting_as(ANNA):
            assert (await other.load(session.id)).state == "absent"
        assert WORDS.encode() not in await place.kept()


async def test_keys_of_users_are_rotated(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each under its owner's name."""
    session = talk()
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", OLDER)
    async with open_manager(place.settings) as manager:
        with acting_as(ANNA):
            assert await manager.save_session(session)
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", f"{MASTER} {OLDER}")
    async with open_manager(place.settings) as manager:
        done = await vault_of(manager).rotate(manager, longest=60)
        assert (done.sessions, done.wrapped, done.ended, done.failed) == (1, 1, 0, {})
    monkeypatch.setenv("FLYWHEEL_MASTER_KEYS", MASTER)
    async with open_manager(place.settings) as manager:
        with acting_as(ANNA):
            assert questions(await manager.require(session.id)) == questions(session)
