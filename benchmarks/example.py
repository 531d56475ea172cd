"""A small session, as the specification publishes it, saved and loaded; and timing calls in turn."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from agentic_flywheel import SessionManager, UniversalSession

QUESTION = "What is creative orientation?"
ANSWER = "Creative orientation focuses on..."

Call = Callable[[], Awaitable[object]]


async def save_and_load(sessions: SessionManager) -> None:
    """The published example, as a new session."""
    context = {"topic": "structural tension", "previous_queries": [QUESTION]}
    session = UniversalSession(backend="flowise", current_flow_id="csv2507", context=context)
    session.history.append({"question": QUESTION, "flow_id": "csv2507", "response": ANSWER})
    await save(sessions, session)
    await sessions.load_session(session.id)


async def save(sessions: SessionManager, session: UniversalSession) -> None:
    """Save a session; raises RuntimeError where it only got into the journal, which is not what is to be timed."""
    saved = await sessions.save_session(session)
    if saved.outcome != "stored":
        raise RuntimeError(f"a save was {saved.outcome}: this machine is too busy to measure anything")


async def in_turn(calls: Mapping[str, Call], repeat: int) -> dict[str, list[float]]:
    """How long each call took, in seconds.

    They are made in turn, so that what disturbs one disturbs all. The first ones do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeat + repeat // 10):
        for name, call in calls.items():
            begun = time.perf_counter()
            await call()
            if number >= repeat // 10:
                times[name].append(time.perf_counter() - begun)
    return times
