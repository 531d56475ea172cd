"""A session that is deleted and begun again has other keys; who holds the old one writes with the new ones."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import StoreSettings
from agentic_flywheel.session import InFlight, new_id
from agentic_flywheel.wiring import open_manager
from tests.resilience.outage import Outage, ask, asked_in, until_replayed
from tests.secrecy.conftest import Place
from tests.support.values import questions

pytestmark = pytest.mark.usefixtures("encrypted")


async def begin(manager: SessionManager, *asked: str, title: str | None = None) -> UniversalSession:
    """A session under the id of which there are several, one after the other."""
    session = UniversalSession(backend="custom", id="s", current_flow_id="f")
    if title is not None:
        session.metadata["title"] = title
    assert (await manager.save_session(ask(session, *asked))).outcome == "stored"
    return session


async def begun_again(manager: SessionManager, *asked: str, title: str | None = None) -> UniversalSession:
    assert await manager.delete_session("s")
    return await begin(manager, *asked, title=title)


@pytest.mark.parametrize("edits", [False, True])
async def test_who_holds_the_old_one_writes_what_all_can_read(place: Place, edits: bool) -> None:
    """Their new turns and values are in the new session, whose own are left; the deleted ones stay deleted."""
    async with open_manager(place.settings) as late, open_manager(place.settings) as other:
        held = await begin(late, "old", title="old")
        held.context["old"] = 1
        assert await late.save_session(held)
        await begun_again(other, "new", title="new")
        held.context["late"] = 2
        assert (await late.save_session(ask(held, "late"))).outcome == "stored"
        assert questions(held) == ["new", "late"]
        assert held.metadata["title"] == "new"
        assert (await late.save_session(ask(held, "later"))).outcome == "stored"
        if edits:
            held.history[0]["response"] = "edited"
            assert await late.save_session(held)
        theirs = await other.require("s")
        assert questions(theirs) == ["new", "late", "later"]
        assert theirs.context["late"] == 2
        assert "old" not in theirs.context
        assert await other.save_session(ask(theirs, "last"))
    async with open_manager(place.settings) as third:
        again = await third.require("s")
        assert questions(again) == ["new", "late", "later", "last"]
        for turn in again.history:
            execution = await third.load_execution(str(turn.id))
            assert execution is not None
            assert execution.question == turn.question


async def test_edits_of_the_old_one_are_readable_too(place: Place) -> None:
    """An edited history is written whole, with the keys that there are."""
    async with open_manager(place.settings) as late, open_manager(place.settings) as other:
        held = await begin(late, "old", "second")
        await begun_again(other, "new")
        held.history[0]["response"] = "edited"
        assert (await late.save_session(held)).outcome == "stored"
    async with open_manager(place.settings) as third:
        assert questions(await third.require("s")) == questions(held)


async def test_keys_that_are_remembered_of_the_old_one(place: Place) -> None:
    """A process that used the old session and loads the new one goes on with its keys, and claims it with them."""
    async with open_manager(place.settings) as late, open_manager(place.settings) as other:
        await begin(late, "old")
        await begun_again(other)
        session = await late.require("s", last=0)
        assert await late.save_session(ask(session, "late"))
        turn = InFlight(new_id("turn"), "what now?", "f")
        assert await late.turns.claim("s", turn) is None
        found = await other.turns.look("s")
        assert found is not None
        assert found.turn.question == "what now?"
        assert questions(await other.require("s")) == ["late"]


async def test_an_ordinary_save_asks_for_no_key(place: Place) -> None:
    """Nor does one that goes behind what others added: the store of the keys may be away."""
    async with open_manager(place.settings) as one, open_manager(place.settings) as two:
        session = await begin(one, "first")
        theirs = await two.require("s")
        assert await two.save_session(ask(theirs, "second"))
        assert one.forms.vault is not None
        loads = one.forms.vault.rings.meter.counts.copy()
        assert await one.save_session(ask(session, "third"))
        assert one.forms.vault.rings.meter.counts == loads
        assert questions(session) == ["first", "second", "third"]


async def test_a_store_that_lost_all_gets_back_what_all_can_read(place: Place) -> None:
    """Session and keys are gone (the store was flushed, say): who holds it brings it back, with a new key."""
    async with open_manager(place.settings) as holder:
        session = await begin(holder, "first", title="a title")
        assert holder.forms.vault is not None
        for store in (holder.store, holder.forms.vault.rings.store):
            await store.delete("s", deleted_at="2020-01-01T00:00:00Z", ttl=1)
        assert (await holder.save_session(ask(session, "second"))).outcome == "stored"
        assert questions(session) == ["first", "second"]
    async with open_manager(place.settings) as other:
        again = await other.require("s")
        assert (questions(again), again.metadata["title"]) == (["first", "second"], "a title")


async def test_what_waited_for_a_session_that_was_deleted(outage: Outage) -> None:
    """It cannot be read any more, and is not put into the one that was begun again; the writer goes on in that."""
    away = outage.open()
    held = await begin(away, "old", title="old")
    outage.proxy.refuse()
    outage.proxy.reset()
    held.context["waits"] = 1
    assert (await away.save_session(ask(held, "waits"))).outcome == "journalled"
    there = replace(
        outage.settings(), store=StoreSettings(url=outage.server.url), state_dir=str(outage.folder / "elsewhere")
    )
    async with open_manager(there) as elsewhere:
        await begun_again(elsewhere, "new", title="new")
    await outage.proxy.pass_through()
    await until_replayed(away)
    assert (await away.health()).refused == 0
    assert await asked_in(outage.open(), "s") == ["new"]
    assert (await away.save_session(ask(held, "late"))).outcome == "stored"
    again = await outage.open().require("s")
    assert (questions(again), again.metadata["title"]) == (["new", "late"], "new")
    assert again.context == {}
