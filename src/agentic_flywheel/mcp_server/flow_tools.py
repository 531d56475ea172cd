"""The tools that ask flows, and record what a client answered by itself."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import Field, ValidationError

from ..errors import Damaged, SessionNotFound
from ..flywheel import Flywheel
from ..jsontext import sendable
from .arguments import FlowId, Handle, Question, Values, add_tool
from .models import (
    ExecutionView,
    FlowAnswer,
    FlowLine,
    FlowList,
    SaveState,
    TurnRecorded,
    count_turns,
)
from .problems import as_tool_errors, insist
from .progress import progress_of

CLIENT = "client"
"""The flow id of turns that the client answered by itself."""


class FlowTools:
    """Tools for flows; their docstrings are the descriptions that models read."""

    def __init__(self, flywheel: Flywheel) -> None:
        self._flywheel = flywheel
        self._sessions = flywheel.sessions

    def register(self, server: MCPServer[Any]) -> None:
        """Add the tools to a server."""
        add_tool(server, self.run_flow)
        add_tool(server, self.list_flows, reads=True)
        add_tool(server, self.record_turn)
        add_tool(server, self.get_execution, reads=True)

    async def run_flow(
        self,
        context: Context[Any, Any],
        question: Question,
        session_id: Annotated[
            Handle | None, Field(description="the conversation to go on with; a new one is begun if not given")
        ] = None,
        flow_id: Annotated[
            FlowId | None,
            Field(description="which flow to ask; if not given, the one the session used last, else the default"),
        ] = None,
        parameters: Annotated[Values | None, Field(description="parameters for this one run")] = None,
        request_key: Annotated[
            str | None,
            Field(description="any text that names this request: sent again with it, it is not run again"),
        ] = None,
    ) -> FlowAnswer:
        """Ask a flow and return its answer. The turn and its execution are recorded: do not record them again.

        Without a session_id a new session is begun; the answer holds its handle: pass it along with the next
        question. If saved.outcome is "refused", the answer is good but not on record: tell the user why.
        """
        with as_tool_errors():
            async with progress_of(context) as progress:
                reply = await self._flywheel.ask(
                    question,
                    session_id=session_id,
                    flow=flow_id,
                    parameters=parameters,
                    request_key=request_key,
                    on_asked=progress.asked if progress else None,
                    on_text=progress.said if progress else None,
                )
            return FlowAnswer.of(reply)

    async def list_flows(self) -> FlowList:
        """List the flows that run_flow can ask, and which of them is the default."""
        flows = self._flywheel.flows
        return FlowList(flows=[FlowLine.of(flow, flows.default) for flow in flows])

    async def record_turn(
        self,
        session_id: Handle,
        question: Question,
        response: Annotated[str, Field(description="what was answered")],
        flow_id: Annotated[str, Field(min_length=1, description="who answered, if it was not you")] = CLIENT,
        duration_ms: Annotated[
            int | None, Field(ge=0, description="how long the answer took, in milliseconds")
        ] = None,
    ) -> TurnRecorded:
        """Record a question and the answer that you gave yourself, so that the conversation can be resumed.

        Not after run_flow, which records by itself.
        """
        with as_tool_errors():
            session = await self._sessions.require(session_id, last=0)
            turn = session.record(question=question, response=response, flow_id=flow_id, duration_ms=duration_ms)
            saved = insist(await self._sessions.save_session(session))
            return TurnRecorded(
                session_id=session_id,
                turn_id=turn["id"],
                turns=count_turns(session),
                saved=SaveState.of(saved),
            )

    async def get_execution(
        self, execution_id: Annotated[str, Field(description="the id of a turn, or of an execution")]
    ) -> ExecutionView:
        """Look up one run of a flow: parameters, full output, timing, error. Also after its session has ended."""
        with as_tool_errors():
            execution = await self._sessions.load_execution(execution_id)
            if execution is None:
                raise SessionNotFound(
                    f"no execution {execution_id!r}: it has expired or never was. The id of a turn in "
                    "resume_session is the id of its execution"
                )
            try:
                return ExecutionView.model_validate(sendable(execution.to_dict()))
            except ValidationError as error:
                raise Damaged(f"execution {execution_id!r} is damaged") from error
