"""Requests as Langflow takes or refuses them, and streams as it sends them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse


class Refused(Exception):
    """A request is refused."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(str(detail))
        self.response = JSONResponse({"detail": detail}, status)


_TYPES: dict[str, tuple[type, ...]] = {
    "flow_id": (str,),
    "input_value": (str,),
    "session_id": (str, type(None)),
    "mode": (str,),
    "tweaks": (dict,),
    "globals": (dict,),
    "files": (list, type(None)),
    "data": (dict, type(None)),
    "start_component_id": (str, type(None)),
    "stop_component_id": (str, type(None)),
    "stream_protocol": (str,),
}


def workflow(body: Any, *, tells_input: bool) -> dict[str, Any]:
    """A request for a workflow, which has to be one in every point."""
    problems = list(_problems(body))
    if problems:
        raise Refused(422, problems if tells_input else [_reticent(problem) for problem in problems])
    return dict(body)


def _problems(body: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(body, dict):
        yield {"type": "missing", "loc": ["body"], "msg": "Field required", "input": body}
        return
    for name, value in body.items():
        where = {"loc": ["body", name], "input": value}
        if name not in _TYPES:
            yield {"type": "extra_forbidden", "msg": "Extra inputs are not permitted", **where}
        elif not isinstance(value, _TYPES[name]):
            yield {"type": "string_type", "msg": "Input should be a valid string", **where}
        elif name == "mode" and value not in ("sync", "stream", "background"):
            expected = "'sync', 'stream' or 'background'"
            yield {"type": "enum", "msg": f"Input should be {expected}", "ctx": {"expected": expected}, **where}
    if "flow_id" not in body:
        yield {"type": "missing", "loc": ["body", "flow_id"], "msg": "Field required", "input": body}
    elif isinstance(body["flow_id"], str) and not is_uuid(body["flow_id"]) and not body.keys() - _TYPES:
        says = "Value error, Invalid flow_id, must be a UUID"
        yield {"type": "value_error", "loc": ["body"], "msg": says, "input": body, "ctx": {"error": {}}}


def _reticent(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: problem[name] for name in ("type", "loc", "msg")}


def is_run(body: Any) -> bool:
    """Whether Langflow understands a request of version 1."""
    if not isinstance(body, dict):
        return False
    texts = ("input_value", "session_id", "output_component")
    tweaks = body.get("tweaks")
    return (
        all(isinstance(body.get(name), str | None) for name in texts)
        and body.get("input_type", "chat") in ("chat", "text", "any")
        and body.get("output_type", "chat") in ("chat", "text", "any", "debug")
        and (tweaks is None or (isinstance(tweaks, dict) and all(map(_is_tweak, tweaks.values()))))
    )


def _is_tweak(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | dict)


async def json_of(request: Request, *, tells_input: bool = False) -> Any:
    """What a request holds; None if it holds nothing."""
    data = await request.body()
    try:
        return json.loads(data) if data else None
    except json.JSONDecodeError as error:
        problem = {"type": "json_invalid", "loc": ["body", error.pos], "msg": "JSON decode error"}
        more = {"input": {}, "ctx": {"error": error.msg}} if tells_input else {}
        raise Refused(422, [{**problem, **more}]) from None


def stream(lines: Iterator[str]) -> Response:
    """A stream of lines; what they tell of has happened before the first one is sent."""
    return StreamingResponse(_pieces(list(lines)), media_type="text/event-stream")


async def _pieces(lines: list[str]) -> AsyncIterator[str]:
    for line in lines:
        yield line


def bare(events: Iterator[tuple[str, Any]]) -> Iterator[str]:
    for name, data in events:
        yield json.dumps({"event": name, "data": data}) + "\n\n"


def numbered(events: Iterator[tuple[str, Any]]) -> Iterator[str]:
    for number, (name, data) in enumerate(events):
        yield f"data: {json.dumps({'event': name, 'data': data})}\nid: {number}\n\n"


async def refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response


async def http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
