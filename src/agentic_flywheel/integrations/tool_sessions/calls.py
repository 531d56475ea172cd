"""What happens around every tool call that names a session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from ...errors import BadInput, FlywheelError
from ...manager import SessionManager
from ...session import Execution, InFlight, UniversalSession, new_id, now
from ...stores.owned import acting_as
from .forms import Codec, as_bytes
from .framework import Framework
from .holds import Hold, Holds
from .losses import refuse_loss, refuse_losses
from .outcome import Outcome
from .problems import Advice
from .recording import Recorder, Run

R = TypeVar("R")

SESSION_ID = "session_id"
"""The argument of a tool that names the session."""


class Call:
    """A tool call under way, with the session that it names.

    ``session`` is set by `check` or by `hold`, which both refuse a session that is not the caller's.
    """

    session: UniversalSession

    def __init__(
        self,
        sessions: SessionManager,
        holds: Holds,
        framework: Framework,
        advice: Advice,
        session_id: str,
        run: Run,
    ) -> None:
        self._sessions = sessions
        self._holds = holds
        self._framework = framework
        self._advice = advice
        self._hold: Hold | None = None
        self._states: dict[str, _Held] = {}
        self.session_id = session_id
        self.run = run

    async def check(self) -> None:
        """Load the session without its turns; for the errors see `Loaded.need`."""
        loaded = await self._sessions.load(self.session_id, last=0)
        self.session = loaded.need()

    async def hold(self) -> None:
        """The same, and from now on no other call has its state; see `Loaded.need` and `Holds.take`."""
        self._hold, loaded = await self._holds.take(self.session_id, self.run.turn)
        try:
            self.session = loaded.need()
        except FlywheelError:
            self._hold.let_go()
            raise

    async def state(self, codec: Codec) -> Any:
        """A state of the session; each time the same object.

        Raises:
            Exception: the framework's tool error: it cannot be had; says what to do.
        """
        if codec.key not in self._states:
            try:
                refuse_losses(codec, self._sessions.mask)
                if self._hold is None:
                    await self.hold()
                value = codec.load(self.session.context)
                before = as_bytes(codec.dump(value), codec.name)
            except FlywheelError as error:
                raise self._framework.tool_error(self._advice.on(error)) from error
            self._states[codec.key] = _Held(codec, value, before)
        return self._states[codec.key].value

    @property
    def has_state(self) -> bool:
        """Whether the call asked for a state."""
        return bool(self._states)

    def put_changes(self) -> bool:
        """Put the states that were changed into the session; whether there are any.

        Raises:
            BadInput: one of them cannot be stored; none is put.
        """
        dumps = [(held, held.codec.dump(held.value)) for held in self._states.values()]
        changed = [(held, dump) for held, dump in dumps if as_bytes(dump, held.codec.name) != held.before]
        for held, dump in changed:
            refuse_loss(held.codec, dump, self._sessions.mask)
        for held, dump in changed:
            self.session.context[held.codec.key] = dump
        if changed:
            self.session.metadata["last_active"] = now()
        return bool(changed)

    async def save(self, executions: list[Execution]) -> str | None:
        """Store what was put into the session; if it was refused, why."""
        under = self.run.turn if self._hold else None
        saved = await self._sessions.save_session(self.session, executions=executions, under=under)
        if saved.outcome != "refused":
            return None
        for execution in executions:
            await self._sessions.save_execution(execution)
        return saved.reason

    def let_go(self) -> None:
        """Let other calls have the session, if this one held it."""
        if self._hold is not None:
            self._hold.let_go()


@dataclass(frozen=True, slots=True)
class _Held:
    """A state as a tool has it, and what it was before."""

    codec: Codec
    value: Any
    before: bytes


_current: ContextVar[Call | None] = ContextVar("call")


def current_call(framework: Framework) -> Call:
    """The call under way.

    Raises:
        Exception: the framework's tool error: it names no session.
        RuntimeError: nobody looks after sessions here.
    """
    try:
        call = _current.get()
    except LookupError as error:
        raise RuntimeError(
            "the state of a session needs DurableSessions among the server's extensions or middleware"
        ) from error
    if call is None:
        raise framework.tool_error(f"this tool needs a {SESSION_ID}; the tool that begins a session gives one")
    return call


class ToolCalls:
    """Checks who may use a session, holds it for tools that have state, saves what they changed, records calls.

    ``recorder`` is None where calls are not recorded.
    """

    def __init__(
        self, sessions: SessionManager, framework: Framework, advice: Advice, recorder: Recorder | None
    ) -> None:
        self._sessions = sessions
        self._framework = framework
        self._advice = advice
        self._recorder = recorder
        self._holds = Holds(sessions)
        self._with_state: set[str] = set()  # tools that were seen to take state: they are held from the start
        self._ending: set[asyncio.Task[str | None]] = set()

    async def around(self, tool: str, arguments: Mapping[str, Any], proceed: Callable[[], Awaitable[R]]) -> R:
        """Run a tool, and do before and after it what its session needs.

        Args:
            tool: its name.
            arguments: what its client passed; ``session_id`` among them names the session.
            proceed: runs it.

        Raises:
            Exception: what the tool raised; or the framework's tool error, where the session is not to be had or
                could not be saved.
        """
        with acting_as(self._framework.principal()):
            return await self._around(tool, arguments, proceed)

    async def _around(self, tool: str, arguments: Mapping[str, Any], proceed: Callable[[], Awaitable[R]]) -> R:
        try:
            call = await self._begin(tool, arguments)
        except FlywheelError as error:
            raise self._framework.tool_error(self._advice.on(error)) from error
        token = _current.set(call)
        try:
            result = await proceed()
        except BaseException as error:
            await self._end(call, Outcome.of_error(error))
            raise
        finally:
            _current.reset(token)
        problem = await self._end(call, self._framework.outcome(result))
        if problem:
            raise self._framework.tool_error(problem)
        return result

    async def _begin(self, tool: str, arguments: Mapping[str, Any]) -> Call | None:
        session_id = arguments.get(SESSION_ID)
        if not isinstance(session_id, str):  # none; or the tool's own schema refuses it
            return None
        others = {name: value for name, value in arguments.items() if name != SESSION_ID}
        run = Run(tool, others, InFlight(new_id("turn"), tool, tool))
        call = Call(self._sessions, self._holds, self._framework, self._advice, session_id, run)
        await (call.hold() if tool in self._with_state else call.check())
        run.starts()
        return call

    async def _end(self, call: Call | None, outcome: Outcome) -> str | None:
        """Finish a call, also where its caller is cancelled; what its client is told in place of the result."""
        if call is None:
            return None
        task = asyncio.create_task(self._finish(call, outcome))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return await asyncio.shield(task)

    async def _finish(self, call: Call, outcome: Outcome) -> str | None:
        self._learn(call, outcome)
        try:
            if outcome.status == "asking":
                return None
            problem, changed = None, False
            if outcome.status == "completed":
                try:
                    changed = call.put_changes()
                except BadInput as error:
                    problem = self._advice.on(error)
                    outcome = Outcome("failed", problem)
            executions = [self._recorder.record(call.session, call.run, outcome)] if self._recorder else []
            refused = await call.save(executions) if changed or executions else None
            if refused and changed:
                problem = f"the tool has run, but what it changed in the session was not saved: {refused}"
            return problem
        finally:
            call.let_go()

    def _learn(self, call: Call, outcome: Outcome) -> None:
        """Note whether a tool takes state, so that its next call is held and loaded in one go."""
        if call.has_state:
            self._with_state.add(call.run.tool)
        elif outcome.status == "completed":
            self._with_state.discard(call.run.tool)

    async def close(self) -> None:
        """Wait for what is still to be saved, and to be given up."""
        if self._ending:
            await asyncio.wait(set(self._ending))
        await self._holds.close()
