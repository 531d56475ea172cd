"""What Langflow and ``lfx serve`` have in common: version 2 of the interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .faults import Fault
from .langflow_calls import Refused, json_of, numbered, stream, workflow
from .langflow_runs import INPUT, OUTPUT, Broken, Flow, Run, workflow_reply
from .serving import Asked, ServedFlows


class Workflows(ServedFlows):
    """A server that runs workflows."""

    questions = ("/api/v1/run/", "/api/v2/workflows")
    entry = INPUT
    output = OUTPUT
    tells_input = False  # whether it repeats what it refuses

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"key": "sk-langflow-key", **options})
        self.flows: list[Flow] = []
        self.messages: list[dict[str, Any]] = []
        self.room: int | None = None  # how many messages can be added
        self.adding_fault: Fault | None = None  # what goes wrong with adding one

    @property
    def store(self) -> list[dict[str, Any]] | None:
        """Where messages are kept; None: nowhere."""
        return self.messages

    def forget(self) -> None:
        self.messages.clear()

    def is_question(self, asked: Asked) -> bool:
        return super().is_question(asked) and b"stop_component_id" not in asked.body

    def need_key(self, request: Request) -> None:
        """Refuse a request without the key."""
        raise NotImplementedError

    def refuse_fields(self, body: dict[str, Any]) -> None:
        """Refuse what this server does not take in the mode that is wanted."""
        raise NotImplementedError

    async def workflows(self, request: Request) -> Response:
        self.need_key(request)
        body = workflow(await json_of(request, tells_input=self.tells_input), tells_input=self.tells_input)
        self.refuse_fields(body)
        flow = next((flow for flow in self.flows if flow.id == body["flow_id"].lower()), None)
        if flow is None:
            raise Refused(404, self.unknown(body["flow_id"]))
        if body.get("stop_component_id") is not None:
            return await self._adding(request, flow, body)
        return await self.faulty(request, lambda: self._workflow(flow, body))

    async def _adding(self, request: Request, flow: Flow, body: dict[str, Any]) -> Response:
        async def answer() -> Response:
            return stream(numbered(self._added(flow, body)))

        return await (self.adding_fault(request, answer) if self.adding_fault else answer())

    def unknown(self, flow_id: str) -> dict[str, Any]:
        """What is said of a flow that is not there."""
        raise NotImplementedError

    async def _workflow(self, flow: Flow, body: dict[str, Any]) -> Response:
        text, session = body.get("input_value", ""), body.get("session_id") or flow.id
        run = Run(self.store, flow, text, session, body.get("tweaks"), self.output)
        if body.get("mode") == "stream":
            return stream(numbered(self.workflow_events(run)))
        try:
            for _ in run.events():
                pass
        except Broken:
            return JSONResponse(workflow_reply(run, body, broken=True))
        return JSONResponse(workflow_reply(run, body))

    def workflow_events(self, run: Run) -> Iterator[tuple[str, Any]]:
        """The events of a run, as a stream of version 2 has them."""
        raise NotImplementedError

    def _added(self, flow: Flow, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """A run that stops at a component: at the Chat Input, it only keeps a message."""
        found = flow.entry and body["stop_component_id"] == self.entry and self.room != len(self.messages)
        ids = [self.entry] if found else []
        yield "vertices_sorted", {"ids": ids, "to_run": ids}
        yield "build_start", {}
        if found:
            sender = (body.get("tweaks") or {}).get(self.entry, {}).get("sender", "User")
            run = Run(self.store, flow, body.get("input_value", ""), body["session_id"])
            yield "add_message", run.keep(sender, run.text)
            yield "end_vertex", {"build_data": {"id": self.entry, "valid": True}}
        yield "end", {"build_duration": 0.01}
