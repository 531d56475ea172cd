"""While Redis is away, each principal goes on with what is its own, and sees nothing else."""

from __future__ import annotations

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.errors import Unavailable
from agentic_flywheel.manager import erase_everything
from agentic_flywheel.session.principal import principal_of
from agentic_flywheel.stores.owned import NOBODY, acting_as
from tests.resilience.outage import Outage, conversation, save, until_replayed

ANNA, BEN = (principal_of(None, name) for name in ("anna", "ben"))


async def begun(manager: SessionManager, principal: str) -> UniversalSession:
    """A session of a principal, stored; each has the same id."""
    session = conversation(id="s")
    with acting_as(principal):
        assert (await save(manager, session, 1)).outcome == "stored"
    return session


async def turns(manager: SessionManager, principal: str) -> int | None:
    """How many turns a principal finds under the id."""
    with acting_as(principal):
        loaded = await manager.load("s")
    return len(loaded.session.history) if loaded.session else None


async def test_what_waits_and_what_is_known_has_an_owner(outage: Outage) -> None:
    """Another process of the machine, too, gives each their own; and Redis gets it so."""
    manager = outage.open()
    sessions = {principal: await begun(manager, principal) for principal in (ANNA, BEN)}
    outage.server.kill()
    with acting_as(ANNA):
        assert [(await save(manager, sessions[ANNA], number)).outcome for number in (2, 3)] == ["journalled"] * 2
    for process in (manager, outage.open()):
        assert [await turns(process, principal) for principal in (ANNA, BEN, NOBODY)] == [3, 1, None]
        for principal, number in ((ANNA, 3), (BEN, 1)):
            with acting_as(principal):
                assert [listed.turns for listed in await process.list_sessions()] == [number]
        with acting_as(NOBODY), pytest.raises(Unavailable):  # what there is of theirs nobody can say now
            await process.list_sessions()
    outage.server.restart()
    await until_replayed(manager)
    assert [await turns(manager, principal) for principal in (ANNA, BEN, NOBODY)] == [3, 1, None]
    assert await outage.raw.exists(f"agentic_flywheel:session:{ANNA}:s", f"agentic_flywheel:session:{BEN}:s") == 2


@pytest.mark.parametrize("replayed", [True, False], ids=["replayed", "refused"])
async def test_erasing_reaches_the_journal(outage: Outage, replayed: bool) -> None:
    """What waited or was refused, and the local copies; others keep theirs. No word of it is left in the files."""
    manager = outage.open()
    sessions = {principal: await begun(manager, principal) for principal in (ANNA, BEN)}
    outage.server.kill()
    for principal, session in sessions.items():
        with acting_as(principal):
            session.record(question=f"{principal} asks", response="r" * 3000, flow_id="flow")
            assert (await manager.save_session(session)).outcome == "journalled"
    if replayed:
        outage.server.restart()
        await until_replayed(manager)
    else:
        await manager.close()  # nobody replays
        outage.server.restart()
        manager = outage.open()
    assert await erase_everything(manager, ANNA) > 1
    assert [await turns(manager, principal) for principal in (ANNA, BEN)] == [None, 2]
    await manager.close()
    left = b"".join(path.read_bytes() for path in outage.folder.rglob("*") if path.is_file())
    assert f"{ANNA} asks".encode() not in left
    keys = [key async for key in outage.raw.scan_iter(f"*{ANNA}*")]
    assert [key for key in keys if b":tombstone:" not in key] == []


async def test_another_process_does_not_bring_back_what_was_erased(outage: Outage) -> None:
    """It knows a session still, and does not write that to disk; what is done afterwards is known again."""
    manager, other = outage.open(), outage.open()
    await begun(manager, BEN)
    with acting_as(BEN):
        session = UniversalSession(id="mine", backend="custom")
        session.record(question="what is erased", response="r")
        assert (await other.save_session(session)).outcome == "stored"
    assert await erase_everything(manager, BEN) > 0
    await other.close()  # which writes down what it knows
    assert b"what is erased" not in b"".join(
        path.read_bytes() for path in outage.folder.rglob("*") if path.is_file()
    )
    await begun(manager, BEN)
    await manager.close()
    outage.server.kill()
    assert await turns(outage.open(), BEN) == 1
