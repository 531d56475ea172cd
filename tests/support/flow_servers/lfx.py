"""A small ``lfx serve``: it answers as lfx 1.13.0 was seen to, and refuses what that refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .langflow_calls import Refused, http_error, refusal
from .langflow_runs import BROKEN, Broken, Flow, Run
from .langflow_workflows import Workflows

CHAT = "4750e61d-439b-5aa4-be1d-ea423946fd80"


class LfxServer(Workflows):
    """One flow without a model that says what it heard. It keeps nothing, and there are no messages to read."""

    entry = "ChatInput-CEWBx"
    output = "ChatOutput-oeZqY"
    tells_input = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flows = [Flow(CHAT, "chat")]

    @property
    def store(self) -> None:
        return None

    def app(self) -> Starlette:
        routes = [
            Route("/health", _lfx_health),
            Route("/flows", self._flows),
            Route("/flows/{flow}/info", self._info),
            Route("/api/v2/workflows", self.workflows, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={Refused: refusal, HTTPException: http_error})

    def need_key(self, request: Request) -> None:
        given = request.headers.get("x-api-key")
        if given != self.key:
            raise Refused(401, "Invalid API key" if given else "API key required")

    def refuse_fields(self, body: dict[str, Any]) -> None:
        if body.get("mode") == "background":
            says = "This runtime supports mode 'sync' and 'stream'. Background runs need the langflow backend "
            self._refuse("Unsupported mode", "LFX_SERVE_UNSUPPORTED_MODE", f"{says}(durable jobs + queue).")
        named = [name for name in ("data", "files", "stop_component_id", "tweaks") if body.get(name)]
        if named:
            says = f"This runtime does not support these v2 fields yet: {', '.join(named)}. "
            says += "Use the langflow backend for live-data overrides, tweaks, files, or partial-run boundaries."
            code = "LFX_SERVE_UNSUPPORTED_FIELDS"
            self._refuse("Unsupported request fields", code, says, fields=named)

    def _refuse(self, error: str, code: str, message: str, **more: Any) -> NoReturn:
        raise Refused(422, {"error": error, "code": code, "message": message, **more})

    def unknown(self, flow_id: str) -> dict[str, Any]:
        return {"error": "flow not found", "code": "FLOW_NOT_FOUND", "flow_id": flow_id}

    def workflow_events(self, run: Run) -> Iterator[tuple[str, Any]]:
        yield "build_start", {"id": self.entry}
        try:
            yield from run.events()
        except Broken:
            yield "error", run.problem
            yield "error", {"error": BROKEN}
        else:
            yield "end", {}

    async def _flows(self, request: Request) -> Response:
        self.need_key(request)
        return JSONResponse([_lfx_described(flow) for flow in self.flows])

    async def _info(self, request: Request) -> Response:
        self.need_key(request)
        for flow in self.flows:
            if flow.id == request.path_params["flow"]:
                return JSONResponse(_lfx_described(flow))
        raise Refused(404, {"error": "flow not found", "flow_id": request.path_params["flow"]})


async def _lfx_health(_: Request) -> Response:
    return JSONResponse({"status": "healthy", "flow_count": 1})


def _lfx_described(flow: Flow) -> dict[str, Any]:
    return {"id": flow.id, "relative_path": f"{flow.name}.py", "title": flow.name, "description": None}
