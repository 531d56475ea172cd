"""Asking a flow in a session: when it is the turn's turn, with what the flow has to know, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..backends import Answer, Flow, FlowRegistry, Question
from ..errors import FlowFailed, FlywheelError, SessionNotFound, StoreError, UnknownFlow
from ..manager import Found, Loaded, Saved, SessionManager
from ..recent import Recent
from ..session import Execution, InFlight, UniversalSession
from .once import Busy, Gate, turn_id_for
from .open_question import OpenQuestions, forget_open
from .records import Records
from .rehydration import Rehydrator
from .runs import Listener, remind, run, to_the_end
from .settling import Settler, has_unsettled


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
class Request:
    """What somebody asks of a session; see `Flywheel.ask`."""

    question: str
    flow: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    on_asked: Callable[[str], None] | None = None
    on_text: Callable[[str], None] | None = None


class Asker:
    """Asks flows in sessions.

    It remembers which flow a session was asked with last. So a session that goes on need not be loaded once
    more, only to learn that, before it can be claimed.
    """

    def __init__(
        self,
        sessions: SessionManager,
        flows: FlowRegistry,
        records: Records,
        settler: Settler,
        questions: OpenQuestions,
        gate: Gate,
        rehydrator: Rehydrator,
    ) -> None:
        self._sessions = sessions
        self._flows = flows
        self._records = records
        self._settler = settler
        self._questions = questions
        self._gate = gate
        self._rehydrator = rehydrator
        self._asked_last: Recent[Flow] = Recent()

    async def begin(self, request: Request) -> Reply:
        """Ask in a new session; for the errors see `Flywheel.ask`."""
        flow = self._flows.choose(request.flow, None)
        session = UniversalSession(backend=flow.backend, current_flow_id=flow.id)
        saved = await self._sessions.save_session(session)
        try:
            return await self._ask(session.id, flow, request)
        except SessionNotFound as error:
            if saved.outcome == "refused":
                raise StoreError(f"no session could be begun: {saved.reason}") from error
            raise

    async def go_on(self, session_id: str, request: Request) -> Reply:
        """Ask in a session; for the errors see `Flywheel.ask`."""
        if request.flow is not None:
            return await self._ask(session_id, await self._named(session_id, request.flow, request), request)
        last, seen = self._asked_last.get(session_id), None
        if last is not None:
            try:
                return await self._ask(session_id, last, request, certain=False)
            except Busy as busy:
                seen = busy.found  # it may be over when this one is asked again
            except _AnotherFlow:
                pass
        known = await self._sessions.require_or_stand_in(session_id, self._flows.default, last=0)
        return await self._ask(session_id, self._flows.choose(None, known.current_flow_id), request, seen=seen)

    async def _named(self, session_id: str, name: str, request: Request) -> Flow:
        """The flow that a request names. If there is none, that is on record in the session, as other failures are.

        Raises:
            UnknownFlow: there is none.
        """
        try:
            return self._flows.get(name)
        except UnknownFlow as error:
            with suppress(FlywheelError):  # there is no such session
                session = await self._sessions.require(session_id, last=0)
                await self._records.put(_unasked(session, name, request, str(error)))
            raise

    async def _ask(
        self, session_id: str, flow: Flow, request: Request, *, certain: bool = True, seen: Found | None = None
    ) -> Reply:
        """Ask a flow when it is the turn's turn.

        Raises:
            Busy, _AnotherFlow: it is not certain that this is the flow to ask, and it matters, or is not.
        """
        turn = InFlight(turn_id_for(session_id, request.key), request.question, flow.id)
        passed = await self._gate.passed(
            session_id,
            turn,
            last=flow.turns,
            keyed=request.key is not None,
            idempotent=flow.idempotent,
            waits=certain,
            seen=seen,
        )
        if passed.earlier is not None:
            return self._repeated(session_id, passed.earlier)
        async with self._sessions.turns.kept(session_id, turn):
            session = await self._session(session_id, flow, passed.loaded)
            if not certain and self._flows.choose(None, session.current_flow_id) is not flow:
                raise _AnotherFlow
            return await self._take(flow, turn, session, request)

    async def _session(self, session_id: str, flow: Flow, loaded: Loaded | None) -> UniversalSession:
        """The session for a turn, once what can be settled in it is."""
        loaded = loaded or await self._sessions.load(session_id, last=flow.turns)
        session = await self._sessions.or_stand_in(loaded, session_id, flow.backend)
        if has_unsettled(session) and await self._settler.settle(session_id):
            return await self._sessions.require_or_stand_in(session_id, flow.backend, last=flow.turns)
        return session

    async def _take(self, flow: Flow, turn: InFlight, session: UniversalSession, request: Request) -> Reply:
        """Run a turn and record it."""
        execution = Execution(
            id=turn.turn_id,
            session_id=session.id,
            flow_id=flow.id,
            backend=flow.backend,
            status="running",
            question=turn.question,
            parameters=dict(request.parameters),
            started_at=turn.started_at,
        )
        answer = await self._run(flow, session, execution, request)
        session.current_flow_id = flow.id
        forget_open(session)
        session.record(
            id=execution.id,
            timestamp=execution.started_at,
            question=turn.question,
            response=answer.text,
            flow_id=flow.id,
            duration_ms=execution.duration_ms,
        )
        saved = await to_the_end(partial(self._records.put, execution, session, ends=turn))
        self._asked_last.put(session.id, flow)
        return Reply(answer.text, session.id, execution.id, flow.id, execution.duration_ms or 0, saved)

    async def _run(self, flow: Flow, session: UniversalSession, execution: Execution, request: Request) -> Answer:
        """The flow's answer; where this raises, it is on record that there is none."""
        listener = Listener(request.on_text).tell if request.on_text is not None else None
        question = Question(request.question, session, execution.parameters, on_text=listener)
        recall = await self._rehydrator.recall(flow, question)
        if recall.replay is not None:
            question = replace(question, replay=recall.replay)
            execution.extra["rehydrated"] = recall.note()
        asked = False
        try:
            reminded = await remind(flow, question, execution)
            if request.on_asked is not None:
                request.on_asked(flow.id)
            asked = True
            answer = await run(flow, reminded, execution)
            self._rehydrator.answered(flow, question, recall)
            return answer
        except (FlowFailed, asyncio.CancelledError):
            runs_on = execution.status == "cancelled" and asked and flow.period is not None
            await to_the_end(partial(self._put_failure, session.id, execution, runs_on=runs_on))
            raise

    async def _put_failure(self, session_id: str, execution: Execution, *, runs_on: bool) -> None:
        """Put a run without an answer on record; ``runs_on``: its server goes on with it, though nobody waits."""
        if execution.status == "unknown" or runs_on:
            await self._settler.put_unsettled(session_id, execution)
        elif execution.status == "cancelled":
            await self._questions.put_cancelled(session_id, execution)
        else:
            await self._records.put(execution)

    def _repeated(self, session_id: str, execution: Execution) -> Reply:
        saved = Saved("stored", self._sessions.store.where)
        text, flow_id = execution.text, execution.flow_id or ""
        return Reply(text, session_id, execution.id, flow_id, execution.duration_ms or 0, saved, repeated=True)


def _unasked(session: UniversalSession, name: str, request: Request, error: str) -> Execution:
    """A question that could not be put to any flow. Its key may be used again: nothing was run."""
    return Execution(
        session_id=session.id,
        flow_id=name,
        backend=session.backend,
        status="failed",
        question=request.question,
        error=error,
        parameters=dict(request.parameters),
        duration_ms=0,
    )


class _AnotherFlow(Exception):
    """The session's current flow is not the one that it was asked with last here."""
