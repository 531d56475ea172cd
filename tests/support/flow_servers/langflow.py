"""A small Langflow: it answers as Langflow 1.13.0 was seen to, and refuses what that refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .langflow_calls import Refused, bare, http_error, is_run, is_uuid, json_of, refusal, stream
from .langflow_runs import INPUT, OUTPUT, Broken, Flow, Run, broken_reply, component, run_events, run_reply
from .langflow_workflows import Workflows
from .serving import hidden

COUNTS = "7f9e1b77-be99-4cbf-9790-c6006910aea0"
STREAMS = "8f6aded3-6777-4320-a4e9-bb13405915a9"
SILENT = "2b0b7b2c-5a3e-4c4b-9b57-0d6f4a0a7d10"
UNKNOWN = "00000000-0000-0000-0000-000000000000"

_NO_KEY = (
    "Since v1.5, LANGFLOW_AUTO_LOGIN requires a valid API key. Set LANGFLOW_SKIP_AUTH_AUTO_LOGIN=true to skip this "
    "check. Please update your authentication method."
)


class LangflowServer(Workflows):
    """Flows without a model. ``Counts turns`` counts a session's turns and answers ``what did I say?`` with them.

    ``boom`` makes it throw. ``Streams`` does the same word by word. ``Silent`` has no Chat Input and keeps nothing.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flows = [
            Flow(COUNTS, "Counts turns", "counts-turns", "Answers with the number of the turn"),
            Flow(STREAMS, "Streams", streams=True),
            Flow(SILENT, "Silent", entry=False),
        ]

    def app(self) -> Starlette:
        routes = [
            Route("/health", _health),
            Route("/api/v1/run/{flow}", self._run, methods=["POST"]),
            Route("/api/v2/workflows", self.workflows, methods=["POST"]),
            Route("/api/v1/monitor/messages", self._messages),
            Route("/api/v1/flows/", self._flows),
            Route("/api/v1/flows/{flow}", self._flow),
        ]
        return Starlette(routes=routes, exception_handlers={Refused: refusal, HTTPException: http_error})

    def need_key(self, request: Request) -> None:
        given = request.headers.get("x-api-key")
        if given != self.key:
            raise Refused(403, "Invalid API key" if given else "No authentication credentials provided")

    def refuse_fields(self, body: dict[str, Any]) -> None:
        named = [name for name in ("data", "files", "start_component_id", "stop_component_id") if body.get(name)]
        if named and body.get("mode", "sync") == "sync":
            says = f"mode='sync' does not support request fields: {', '.join(named)}. Use mode='stream' or "
            says += "mode='background' for live-canvas overrides, files, or partial-run boundaries."
            code = "SYNC_MODE_UNSUPPORTED_FIELDS"
            error = "Unsupported sync request fields"
            raise Refused(422, {"error": error, "code": code, "message": says, "fields": named})

    def unknown(self, flow_id: str) -> dict[str, Any]:
        says = f"Flow '{flow_id}' does not exist. Verify the flow_id and try again."
        return {"error": "Flow not found", "code": "FLOW_NOT_FOUND", "message": says, "flow_id": flow_id}

    async def _run(self, request: Request) -> Response:
        given = request.headers.get("x-api-key")
        if given != self.key:
            raise Refused(403, "Invalid or missing API key" if given else _NO_KEY)
        name = request.path_params["flow"]
        flow = next((flow for flow in self.flows if name in (flow.id, flow.endpoint)), None)
        if flow is None:
            raise Refused(404, f"Flow identifier {name} not found")
        body = await json_of(request)
        body = body if is_run(body) else {}  # Langflow then runs the flow all the same
        run = Run(
            self.store, flow, body.get("input_value") or "", body.get("session_id") or flow.id, body.get("tweaks")
        )
        streams = request.query_params.get("stream") == "true"
        return await self.faulty(request, lambda: self._run_answer(run, streams=streams))

    async def _run_answer(self, run: Run, *, streams: bool) -> Response:
        if streams:
            return stream(bare(run_events(run)))
        try:
            for _ in run.events():
                pass
        except Broken:
            raise Refused(500, broken_reply()) from None
        return JSONResponse(run_reply(run))

    def workflow_events(self, run: Run) -> Iterator[tuple[str, Any]]:
        yield "vertices_sorted", {"ids": [INPUT], "to_run": [OUTPUT, INPUT]}
        yield "build_start", {}
        try:
            yield from run.events()
        except Broken:
            yield "error", run.problem
            yield "end_vertex", {"build_data": {"id": "Counter-flywh", "valid": False}}
        else:
            yield "output", {**component(run.answer), "component_id": OUTPUT}
        yield "end", {"build_duration": 0.02}

    async def _messages(self, request: Request) -> Response:
        self.need_key(request)
        if self.hides_messages:
            return await hidden(request)
        query = request.query_params
        if "flow_id" in query and not is_uuid(query["flow_id"]):
            raise Refused(
                422, [{"type": "uuid_parsing", "loc": ["query", "flow_id"], "msg": "Input should be a UUID"}]
            )
        limit = int(query.get("limit", 100))
        if not 1 <= limit <= 200:
            raise Refused(
                422, [{"type": "less_than_equal", "loc": ["query", "limit"], "msg": "Input should be less"}]
            )
        session = unquote(query["session_id"]) if "session_id" in query else None
        found = [
            message
            for message in self.messages
            if query.get("flow_id") in (None, message["flow_id"]) and session in (None, message["session_id"])
        ][-limit:]
        return JSONResponse(found[::-1] if query.get("order") == "DESC" else found)

    async def _flows(self, request: Request) -> Response:
        self.need_key(request)
        return JSONResponse([_described(flow) for flow in self.flows])

    async def _flow(self, request: Request) -> Response:
        self.need_key(request)
        name = request.path_params["flow"]
        if not is_uuid(name):
            raise Refused(
                422, [{"type": "uuid_parsing", "loc": ["path", "flow_id"], "msg": "Input should be a UUID"}]
            )
        for flow in self.flows:
            if flow.id == name:
                nodes = [{"id": INPUT, "data": {"type": "ChatInput"}}] if flow.entry else []
                data = {"nodes": [*nodes, {"id": OUTPUT, "data": {"type": "ChatOutput"}}], "edges": []}
                return JSONResponse({**_described(flow), "data": data})
        raise Refused(404, "Flow not found")


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _described(flow: Flow) -> dict[str, Any]:
    return {
        "id": flow.id,
        "name": flow.name,
        "is_component": False,
        "endpoint_name": flow.endpoint,
        "description": flow.description,
        "data": None,
    }
