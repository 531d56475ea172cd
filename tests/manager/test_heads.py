"""A session's head is encoded only where nobody knows how it would come out."""

from __future__ import annotations

import pytest

from agentic_flywheel import SessionManager, UniversalSession, codec
from agentic_flywheel.manager import changes
from agentic_flywheel.secrecy import Mask
from tests.stores.worlds import World


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of sessions whose heads were encoded."""
    ids, encode = [], codec.encode_head

    def noting(session: UniversalSession, *arguments: object) -> object:
        ids.append(session.id)
        return encode(session, *arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(changes, "encode_head", noting)
    return ids


async def go_on(manager: SessionManager, session_id: str, **context: object) -> UniversalSession:
    session = await manager.require(session_id)
    session.context |= context
    session.record(question="q", response="a")
    assert await manager.save_session(session)
    return await manager.require(session_id)


async def test_one_that_stayed_is_not_encoded_again(manager: SessionManager, encoded: list[str]) -> None:
    session = UniversalSession(backend="custom", context={"topic": "rivers"})
    await manager.save_session(session)
    assert encoded == [session.id]
    for _ in range(3):
        await go_on(manager, session.id)
    assert encoded == [session.id]
    assert (await go_on(manager, session.id, topic="lakes")).context == {"topic": "lakes"}
    assert encoded == [session.id] * 2
    assert (await go_on(manager, session.id)).context == {"topic": "lakes"}
    assert encoded == [session.id] * 2


async def test_what_another_process_wrote_is_masked_with_the_next_save(world: World, encoded: list[str]) -> None:
    """It may have had other settings."""
    open_one = SessionManager(world.store, mask=Mask(standard=False))
    careful = SessionManager(world.open(), mask=Mask(["river"]))
    session = UniversalSession(backend="custom", context={"river": "Elbe", "api_key": "geheim"})
    await open_one.save_session(session)
    assert (await open_one.require(session.id)).context == session.context
    assert (await go_on(careful, session.id)).context == {"river": "[masked]", "api_key": "[masked]"}


async def test_what_others_changed_is_encoded(manager: SessionManager, other: SessionManager) -> None:
    """One that this process made, and another changed since, is the other's."""
    session = UniversalSession(backend="custom")
    await manager.save_session(session)
    await go_on(other, session.id, by="other")
    assert (await go_on(manager, session.id, ours=True)).context == {"by": "other", "ours": True}
    assert (await go_on(other, session.id)).context == {"by": "other", "ours": True}
