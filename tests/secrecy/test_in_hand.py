"""A session in hand keeps what was put into it, and saves go on as if nothing had been masked."""

from __future__ import annotations

from agentic_flywheel import SessionManager
from agentic_flywheel.session import InFlight
from agentic_flywheel.stores import Stored
from tests.secrecy.planted import ALL, NAMED, conversation
from tests.stores.worlds import World


async def stored(manager: SessionManager, session_id: str) -> Stored:
    found = await manager.store.read(session_id)
    assert found is not None
    return found


async def test_what_is_in_hand_stays(world: World) -> None:
    """Until the session is loaded anew: then it is as it was stored."""
    manager = SessionManager(world.store)
    session = conversation()
    turn, context = session.history[0], session.context
    await manager.save_session(session)
    assert session.history[0] is turn
    assert (turn.question, turn.response["token"]) == (ALL, NAMED)
    assert (context["note"], session.metadata["apiKey"]) == (ALL, NAMED)
    again = await manager.require(session.id)
    assert (again.history[0].response["token"], again.context["db"]["password"]) == ("[masked]", "[masked]")


async def test_later_saves_append(world: World) -> None:
    """A masked turn is no edited turn: the history is not written again, nor the head."""
    manager = SessionManager(world.store)
    session = conversation()
    await manager.save_session(session)
    before = await stored(manager, session.id)
    for number in range(3):
        session.record(question=f"{number} {ALL}", response={"token": NAMED})
        await manager.save_session(session)
    after = await stored(manager, session.id)
    assert after.mark.epoch == before.mark.epoch
    assert (after.head, after.lines[0]) == (before.head, before.lines[0])
    assert after.mark.total == 4


async def test_an_edit_beside_a_secret_is_noticed(world: World) -> None:
    """Inside of a turn that holds a masked value, too."""
    manager = SessionManager(world.store)
    session = conversation()
    await manager.save_session(session)
    session.history[0].response["deep"].append("more")
    await manager.save_session(session)
    assert (await manager.require(session.id)).history[0].response["deep"][-1] == "more"


async def test_what_others_change_is_taken_over_beside_secrets(world: World) -> None:
    """A merge brings their changes, and leaves in hand what only looks changed since it is stored masked."""
    manager, other = SessionManager(world.store), SessionManager(world.open())
    session = conversation()
    await manager.save_session(session)
    theirs = await other.require(session.id)
    theirs.context["by them"] = 1
    theirs.context["db"]["pins"] = [3]
    await other.save_session(theirs)
    session.context["by us"] = ALL
    await manager.save_session(session)
    assert session.context["by them"] == 1
    assert (session.context["note"], session.context["by us"]) == (ALL, ALL)
    assert session.context["db"]["pins"] == [3]
    assert (await other.require(session.id)).context["by us"].count("[masked]")


async def test_a_question_with_a_secret_is_known_again(world: World) -> None:
    """Asked a second time while it runs, it is the same question, though the note of it is masked."""
    manager = SessionManager(world.store)
    await manager.turns.claim("s", InFlight("turn_1", ALL, "f"))
    found = await manager.turns.claim("s", InFlight("turn_2", ALL, "f"))
    assert found is not None
    assert found.turn.question != ALL
    assert manager.turns.asks_the_same(found.turn, InFlight("turn_2", ALL, "f"))
    assert not manager.turns.asks_the_same(found.turn, InFlight("turn_2", ALL, "g"))
    assert not manager.turns.asks_the_same(found.turn, InFlight("turn_2", "another", "f"))
