"""Conversations with flows that go on where they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..backends import Flow, FlowRegistry
from ..config import Settings
from ..manager import Interrupted, Saved, SessionManager
from ..session import Execution, InFlight, UniversalSession, check_session_id
from ..wiring import open_flows, open_manager
from .once import Gate, turn_id_for
from .runs import run, to_the_end


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question, and where it is on record.

    ``turn_id`` is the id of the turn and of its execution, ``saved`` says whether it is safe. ``repeated``
    says that the question had been asked and answered before, and was not run again.
    """

    text: str
    session_id: str
    turn_id: str
    flow_id: str
    duration_ms: int
    saved: Saved
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """A session to go on with.

    ``behind`` says that the store is away and that this is what is known on this machine. ``interrupted`` is the
    question that was begun and never answered, because its process died; it is not run again unasked.
    """

    session: UniversalSession
    behind: bool
    interrupted: Interrupted | None


class Flywheel:
    """Conversations with flows that go on where they were.

    ::

        async with Flywheel.from_config() as fw:
            reply = await fw.ask("What is creative orientation?", session_id=handle, flow="csv2507")
    """

    def __init__(self, sessions: SessionManager, flows: FlowRegistry) -> None:
        self.sessions = sessions
        self.flows = flows
        self._gate = Gate(sessions)

    @classmethod
    def from_config(cls, path: Path | str | None = None) -> Self:
        """The flywheel that the settings describe (see `agentic_flywheel.config`); nothing is opened yet.

        Raises:
            ConfigError: a setting is wrong; says which.
            MissingExtra: a setting needs a package that is not installed.
        """
        return cls.from_settings(Settings.load(path))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The flywheel of these settings; for the errors see `from_config`."""
        return cls(open_manager(settings), open_flows(settings))

    async def __aenter__(self) -> Self:
        await self.sessions.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sessions.close()

    async def ask(
        self,
        question: str,
        *,
        session_id: str | None = None,
        flow: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        request_key: str | None = None,
    ) -> Reply:
        """Ask a flow, and record the turn and its execution.

        The turn is on record as running before the flow starts. Turns of one session are run one after
        another. A question that is asked again while it is still running, or with the ``request_key`` of an
        earlier one in the same session, is not run again: it gets the answer of the first.

        Args:
            question: what to ask.
            session_id: the conversation to go on with; a new one if not given.
            flow: who is asked; the session's current flow if not given, else the default.
            parameters: for this run of the flow.
            request_key: names this request, so that it may be sent again without being run again.

        Raises:
            SessionNotFound, BadSessionId, Damaged, Newer: there is no such session to go on with.
            UnknownFlow: no flow of this name is configured.
            FlowFailed: the flow did not answer; that is on record, and the session still works.
        """
        session_id, chosen = await self._find(session_id, flow)
        turn = InFlight(turn_id_for(session_id, request_key), question, chosen.id)
        async with self._gate.passing(session_id, turn, keyed=request_key is not None) as earlier:
            if earlier is not None:
                return self._repeated(session_id, earlier)
            return await self._take(session_id, chosen, turn, dict(parameters or {}))

    async def resume(self, session_id: str, *, last: int | None = None) -> Resumed:
        """A session to go on with, and what its user should know.

        Raises:
            SessionNotFound, BadSessionId, Damaged, Newer, Unavailable: there is no such session to go on with.
        """
        loaded = await self.sessions.load(session_id, last=last)
        return Resumed(loaded.need(), loaded.behind, await self._gate.interrupted(session_id))

    async def _find(self, session_id: str | None, flow: str | None) -> tuple[str, Flow]:
        """The session to go on with, made and stored if it is a new one, and the flow that is asked."""
        if session_id is None:
            chosen = self.flows.choose(flow, None)
            session = UniversalSession(backend=chosen.backend, current_flow_id=chosen.id)
            await self.sessions.save_session(session)
            return session.id, chosen
        check_session_id(session_id)
        if flow is not None:
            return session_id, self.flows.get(flow)
        known = await self.sessions.require_or_stand_in(session_id, self.flows.default, last=0)
        return session_id, self.flows.choose(None, known.current_flow_id)

    async def _take(self, session_id: str, flow: Flow, turn: InFlight, parameters: dict[str, Any]) -> Reply:
        """Run a turn and record it."""
        session = await self.sessions.require_or_stand_in(session_id, flow.backend, last=flow.turns)
        execution = Execution(
            id=turn.turn_id,
            session_id=session_id,
            flow_id=flow.id,
            backend=flow.backend,
            status="running",
            question=turn.question,
            parameters=parameters,
            started_at=turn.started_at,
        )
        answer = await run(flow, session, execution, self.sessions)
        session.current_flow_id = flow.id
        session.record(
            id=execution.id,
            timestamp=execution.started_at,
            question=turn.question,
            response=answer.text,
            flow_id=flow.id,
            duration_ms=execution.duration_ms,
        )
        saved = await to_the_end(self._record(session, execution))
        return Reply(answer.text, session_id, execution.id, flow.id, execution.duration_ms or 0, saved)

    async def _record(self, session: UniversalSession, execution: Execution) -> Saved:
        """Save a turn; where the session cannot take it, at least its execution."""
        saved = await self.sessions.save_session(session, executions=[execution])
        if saved.outcome == "refused":
            await self.sessions.save_execution(execution)
        return saved

    def _repeated(self, session_id: str, execution: Execution) -> Reply:
        saved = Saved("stored", self.sessions.store.where)
        text, flow_id = execution.text, execution.flow_id or ""
        return Reply(text, session_id, execution.id, flow_id, execution.duration_ms or 0, saved, repeated=True)
