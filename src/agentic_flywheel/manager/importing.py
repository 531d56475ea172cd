"""Bringing in a session from outside: an exported document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..codec import missing
from ..errors import Damaged, Newer, Sealed, Unavailable
from ..jsontext import encode
from ..secrecy import Mask
from ..session import Execution, History, Turn, UniversalSession, new_id, now
from ..session.times import seconds
from ..session.values import plain
from .results import Saved
from .sessions import SessionManager


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: whether the session is ``created``, how many turns were ``added``, the save."""

    created: bool
    added: int
    saved: Saved


async def import_session(sessions: SessionManager, session: UniversalSession) -> Imported:
    """Store a session from outside; one that is there already is merged with it, and loses nothing.

    Turns that the stored session lacks are added behind its own. Where both know a key of the context, or
    another field of the head, the side that was used last has its way.

    Raises:
        Damaged, Newer, Sealed: what is stored under its id must not be touched.
        Unavailable: the store cannot say what is there.
    """
    there = await sessions.load(session.id)
    if there.state == "absent":
        known = await _executions(sessions, session.history)
        return Imported(True, len(session.history), await sessions.save_session(session, executions=known))
    if there.session is None:
        kinds = {"damaged": Damaged, "newer": Newer, "sealed": Sealed, "unavailable": Unavailable}
        raise kinds[there.state](there.reason)
    stored = there.session
    added = _add_turns(stored, session, sessions.mask)
    _merge_head(stored, session)
    known = await _executions(sessions, added)
    return Imported(False, len(added), await sessions.save_session(stored, executions=known))


def under_new_id(session: UniversalSession) -> UniversalSession:
    """A session from outside as a new one, which goes on from it as a fork does."""
    moment = now()
    lines = [encode(plain(turn, "history")) for turn in session.history]
    fork = UniversalSession.of_head(
        session.head() | {"id": new_id("session"), "backend_session_id": None}, History.of_lines(lines)
    )
    fork.metadata |= {"created_at": moment, "last_active": moment, "forked_from": session.id}
    return fork


async def _executions(sessions: SessionManager, turns: Iterable[Turn]) -> list[Execution]:
    """What is stored of the turns already: it tells more than the executions that a save makes of turns."""
    found = [await sessions.load_execution(turn.id) for turn in turns if isinstance(turn.id, str)]
    return [execution for execution in found if execution is not None]


def _add_turns(stored: UniversalSession, given: UniversalSession, mask: Mask) -> list[Turn]:
    lines, known = (
        [mask.document(encode(plain(turn, "history"))) for turn in session.history] for session in (given, stored)
    )
    lacking = list(History.of_lines(missing(lines, known)))
    stored.history.extend(lacking)
    return lacking


def _merge_head(stored: UniversalSession, given: UniversalSession) -> None:
    newer = seconds(given.metadata.get("last_active")) > seconds(stored.metadata.get("last_active"))
    for name in ("context", "metadata", "extra"):
        ours, theirs = getattr(stored, name), getattr(given, name)
        setattr(stored, name, {**ours, **theirs} if newer else {**theirs, **ours})
    if newer:
        for name in ("backend", "backend_session_id", "status", "current_flow_id"):
            setattr(stored, name, getattr(given, name))
