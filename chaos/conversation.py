"""One writer's part in one session: it says things, and notes what became of each."""

from __future__ import annotations

import random
from pathlib import Path

from agentic_flywheel import Loaded, SessionManager, Turn, UniversalSession
from agentic_flywheel.errors import SessionNotFound

from .doom import Doom
from .ledger import ACCEPTED, Answer, Intent, Ledger, Load, Raised, digest, notes_in
from .stopwatch import Stopwatch

BACKEND = "custom"
FLOW = "chaos"
LAST = 20  # turns of a session that is loaded in part
LARGE_TURNS = 0.002  # of all; what is as large is not written by a script
LARGE = 270_000  # bytes

# What would break a store that splices text without care.
_SNIPPETS = ("\n]}", '","history":[', "{}", "\\n", "\u2028", "a plain sentence. ", "\U0001f300 ünïcödé ", '"\\"')


class Conversation:
    """A session as one writer sees it. Only one call may be under way."""

    def __init__(self, manager: SessionManager, ledger: Ledger, writer: str, session_id: str, doom: Doom) -> None:
        self.writer = writer
        self.session_id = session_id
        self._manager = manager
        self._ledger = ledger
        self._doom = doom
        self._number = 0
        self._last_accepted: str | None = None
        self._session: UniversalSession | None = None

    def go_on_after(self, ledger: Path) -> None:
        """Count on from where an earlier process of this name was killed."""
        mine: set[str] = set()
        for note in notes_in(ledger):
            if isinstance(note, Intent) and note.session == self.session_id:
                self._number = note.number
                mine.add(note.id)
            elif isinstance(note, Answer) and note.id in mine and note.outcome in ACCEPTED:
                self._last_accepted = note.id

    async def say(self, dice: random.Random) -> None:
        """Record a turn and save it."""
        session = self._session or await self.load()
        self._number += 1
        if sets_context := dice.random() < 0.2:
            session.context[self.writer] = self._number
        turn = self._record(session, dice)
        self._ledger.note(Intent(self.session_id, self._number, str(turn.id), digest(turn), sets_context))
        self._doom.strike(dice)
        await self._save(session, str(turn.id))

    def _record(self, session: UniversalSession, dice: random.Random) -> Turn:
        response = "".join(dice.choices(_SNIPPETS, k=dice.randrange(60)))
        if dice.random() < LARGE_TURNS:
            response += "x" * LARGE
        return session.record(
            question=f"{self.writer} {self._number}?",
            response=response,
            flow_id=FLOW,
            duration_ms=1,
            writer=self.writer,
            number=self._number,
        )

    async def _save(self, session: UniversalSession, turn_id: str) -> None:
        watch = Stopwatch()
        try:
            saved = await self._manager.save_session(session)
        except Exception as error:  # the very thing that must not happen
            self._ledger.note(Raised("save", repr(error)))
            return
        self._ledger.note(Answer(turn_id, saved.outcome, watch.read()))
        if saved.outcome in ACCEPTED:
            self._last_accepted = turn_id

    async def load(self, last: int | None = None) -> UniversalSession:
        """Go on with the session as it is found, or with a new one if there is none."""
        try:
            self._session = await self._found(last)
        except Exception as error:
            self._ledger.note(Raised("load", repr(error)))
        if self._session is None:
            self._session = UniversalSession(id=self.session_id, backend=BACKEND)
        return self._session

    async def _found(self, last: int | None) -> UniversalSession | None:
        watch = Stopwatch()
        loaded = await self._manager.load(self.session_id, last=last)
        wait = watch.read()
        self._ledger.note(Load(self.session_id, loaded.state, wait, self._untrue(loaded, whole=last is None)))
        if loaded.state != "unavailable":
            return loaded.session
        watch = Stopwatch()
        try:
            stand_in = await self._manager.require_or_stand_in(self.session_id, BACKEND)
        except SessionNotFound as error:  # Redis is back, and says so
            untrue = str(error) if self._last_accepted else ""
            self._ledger.note(Load(self.session_id, "absent", watch.read(), untrue))
            return None
        self._ledger.note(Load(self.session_id, "stand-in", watch.read()))
        return stand_in

    def _untrue(self, loaded: Loaded, *, whole: bool) -> str:
        """What is not true in what a load said; nothing if all is well."""
        if loaded.state in ("damaged", "newer") or (loaded.state == "absent" and self._last_accepted):
            return f"{loaded.state}: {loaded.reason}"
        if loaded.session and whole and not loaded.behind and not self._knows_last_turn(loaded.session):
            return f"lacks the last turn that was accepted, {self._last_accepted}"
        return ""

    def _knows_last_turn(self, session: UniversalSession) -> bool:
        # From the end: turns are parsed when they are read, and all conversations share this thread.
        newest_first = reversed(session.history)
        return self._last_accepted is None or any(turn.id == self._last_accepted for turn in newest_first)
