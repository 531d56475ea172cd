"""A small Flowise: it answers as Flowise 3.1.4 was seen to, and refuses what that refuses."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from .flowise_parameters import kept, variables, whole_texts
from .serving import ServedFlows, hidden

COUNTER = "33604393-dc33-43df-8605-179257f87f7f"
AGENT = "d8714a06-f386-41d8-971e-780a7310d5d6"
LOCKED = "475d9ea5-36da-4f87-9208-ae5f39c67483"
MODEL = "b21fa0d6-4eaf-4816-b657-978bf88a9eca"
LOCKED_AGENT = "0f5c3a3e-6f0d-4f4a-9d2c-51d7f6f2b9a4"
UNKNOWN = "00000000-0000-0000-0000-000000000000"

_PAGE = '<!DOCTYPE html>\n<html lang="en"><head><title>Flowise - Build AI Agents, Visually</title></head></html>'
_HISTORY = (
    'Invalid history format. Each history item must have: { role: "apiMessage" | "userMessage", content: string }'
)


@dataclass(frozen=True)
class Chatflow:
    id: str
    name: str
    kind: str = "CHATFLOW"
    streams: bool = False
    locked: bool = False


@dataclass(frozen=True)
class _Arrived:
    """When a question arrived, and what was stored then: of turns that end later, its flow knows nothing."""

    stored: list[dict[str, Any]]
    at: str


@dataclass
class _Run:
    """A question to a flow, and what the flow sees."""

    flow: Chatflow
    question: Any
    session: str
    chat: str
    history: list[dict[str, Any]]
    word: str
    arrived: _Arrived
    tone: str
    files: Any
    events: list[tuple[str, Any]] = field(default_factory=list)


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.response = JSONResponse(
            {"statusCode": status, "success": False, "message": message, "stack": {}}, status
        )


class FlowiseServer(ServedFlows):
    """Flows without a model. They count a session's turns, and answer ``what did I say?`` with what they know.

    A caller may have them use another ``word``, and the variable ``tone``. ``boom`` makes them throw. ``counter``
    and ``locked`` cannot stream, ``agent`` is an agentflow and streams its answer in one piece, ``model`` streams
    it word by word. ``locked`` and ``locked agent``, which streams, want the key.
    """

    questions = ("/api/v1/prediction/",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"key": "flowise-key", **options})
        self.flows = [
            Chatflow(COUNTER, "counter"),
            Chatflow(AGENT, "agent", "AGENTFLOW", streams=True),
            Chatflow(LOCKED, "locked", locked=True),
            Chatflow(MODEL, "model", streams=True),
            Chatflow(LOCKED_AGENT, "locked agent", "AGENTFLOW", streams=True, locked=True),
        ]
        self.messages: list[dict[str, Any]] = []

    def forget(self) -> None:
        self.messages.clear()

    def app(self) -> Starlette:
        routes = [
            Route("/api/v1/ping", _ping),
            Route("/api/v1/version", _version),
            Route("/api/v1/prediction/{flow}", self._asked, methods=["POST"]),
            Route("/api/v1/chatmessage/{flow}", self._messages),
            Route("/api/v1/chatflows", self._chatflows),
            Route("/api/v1/chatflows/{flow}", self._chatflow),
            Route("/api/v1/chatflows-streaming/{flow}", self._streaming),
            Route("/{path:path}", _ui, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
        return Starlette(routes=routes, exception_handlers={_Refused: _refusal})

    async def _asked(self, request: Request) -> Response:
        arrived = _Arrived(list(self.messages), _now())
        return await self.faulty(request, lambda: self._prediction(request, arrived))

    async def _prediction(self, request: Request, arrived: _Arrived) -> Response:
        body = await _body(request)
        streaming = body.get("streaming") is True
        try:
            flow = self._known(request.path_params["flow"])
            if streaming and flow.streams:  # from here on Flowise 3.1.4 tells of its errors in the stream
                events = list(self._events(request, flow, body, arrived))
                return StreamingResponse(_pieces(events), media_type="text/event-stream")
            run = self._run(request, flow, body, arrived)
            return JSONResponse(self._reply(run, self._answer(run)))
        except _Refused:
            if streaming:  # Flowise 3.1.4 then never answers
                await asyncio.Event().wait()
            raise

    def _known(self, flow_id: str) -> Chatflow:
        if not _is_uuid(flow_id):
            raise _Refused(400, "Invalid Chatflow ID")
        for flow in self.flows:
            if flow.id == flow_id:
                return flow
        raise _Refused(404, f"Chatflow {flow_id} not found in the database!")

    def _run(self, request: Request, flow: Chatflow, body: dict[str, Any], arrived: _Arrived) -> _Run:
        if flow.locked and not self._has_key(request):
            _throw("Unauthorized")
        override = body.get("overrideConfig")
        override = override if isinstance(override, dict) else {}
        session = override.get("sessionId")
        if session is not None and not isinstance(session, str):
            _throw("Invalid sessionId: must be a string")
        chat = body.get("chatId") or session or str(uuid4())
        history = body.get("history", [])
        if flow.kind == "AGENTFLOW":
            if not isinstance(history, list) or not all(map(_is_message, history)):
                _throw(_HISTORY)
            history = []  # its custom functions do not see it
        history = history if isinstance(history, list) else []
        tone = str(variables(override).get("tone") or "")
        asked, files = body.get("question"), _files(body)
        return _Run(flow, asked, session or chat, chat, history, _word(override), arrived, tone, files)

    def _answer(self, run: _Run) -> str:
        if run.question is None and run.flow.kind == "AGENTFLOW":
            reads = "TypeError: Cannot read properties of undefined (reading 'startsWith')"
            _throw(f"Error: NodeVM Execution Error: {reads}")
        if run.question == "boom":
            _throw("Error: NodeVM Execution Error: Error: the flow broke on purpose")
        stored = [
            each
            for each in run.arrived.stored
            if (each["chatflowid"], each["sessionId"]) == (run.flow.id, run.session)
        ]
        said = [each for each in [*run.history, *stored] if each.get("content")]
        if run.question == "what did I say?":
            return "\n".join(f"{_speaker(each)}: {each['content']}" for each in said)
        turns = sum(_speaker(each) == "Human" for each in said) + 1
        whole = whole_texts(run.files) if run.flow.kind == "AGENTFLOW" else ""
        question = "," if run.question is None else run.question
        return f"{run.word} {turns}: {whole}{question}{f' ({run.tone})' if run.tone else ''}"

    def _reply(self, run: _Run, text: str) -> dict[str, Any]:
        """Keep the turn; the reply that tells of it."""
        execution = {"executionId": str(uuid4())} if run.flow.kind == "AGENTFLOW" else {}
        question = "" if run.question is None else str(run.question)
        asking = self._keep(run, "userMessage", question, execution, run.arrived.at)
        asking["fileUploads"] = kept(run.files)
        answer = self._keep(run, "apiMessage", text, execution, _now())
        asked = {} if run.question is None else {"question": run.question}
        reply = {"text": text, **asked, "chatId": run.chat, "chatMessageId": answer["id"], **execution}
        if execution:
            return {**reply, "agentFlowExecutedData": _executed(run, text), "sessionId": run.session}
        return {**reply, "isStreamValid": False, "sessionId": run.session, "memoryType": "Buffer Memory"}

    def _keep(self, run: _Run, role: str, content: str, execution: dict[str, str], created: str) -> dict[str, Any]:
        nothing = (
            "sourceDocuments usedTools fileAnnotations agentReasoning reasonContent fileUploads artifacts action"
        )
        message = {
            "id": str(uuid4()),
            "role": role,
            "chatflowid": run.flow.id,
            "executionId": execution.get("executionId"),
            "content": content,
            **dict.fromkeys(nothing.split()),
            "chatType": "EXTERNAL",
            "chatId": run.chat,
            "memoryType": None if execution else "Buffer Memory",
            "sessionId": run.session,
            "createdDate": created,
            "leadEmail": None,
            "followUpPrompts": None,
            "execution": None,
        }
        self.messages.append(message)
        self.messages.sort(key=lambda each: str(each["createdDate"]))
        return message

    def _events(self, request: Request, flow: Chatflow, body: dict[str, Any], arrived: _Arrived) -> Iterator[str]:
        try:
            run = self._run(request, flow, body, arrived)
            text = self._answer(run)
        except _Refused as refused:
            yield _event("error", str(refused))
            yield _event("end", "[DONE]")
            return
        reply = self._reply(run, text)
        pieces = [text] if run.flow.kind == "AGENTFLOW" else re.findall(r"\S+\s*", text)
        if run.flow.kind == "AGENTFLOW":
            yield _event("agentFlowEvent", "INPROGRESS")
        else:
            yield _event("start", pieces[0])
        for piece in pieces:
            yield _event("token", piece)
            yield ":heartbeat\n\n"
        if run.flow.kind == "AGENTFLOW":
            yield _event("agentFlowExecutedData", reply["agentFlowExecutedData"])
            yield _event("agentFlowEvent", "FINISHED")
        told = ("chatId", "chatMessageId", "question", "sessionId", "memoryType")
        yield _event("metadata", {name: reply[name] for name in told if name in reply})
        yield _event("end", "[DONE]")

    async def _messages(self, request: Request) -> Response:
        self._need_key(request)
        if self.hides_messages:
            return await hidden(request)
        flow, query = request.path_params["flow"], request.query_params
        if flow not in {each.id for each in self.flows}:
            _throw("Unauthorized access", "chatMessagesService.getAllChatMessages")
        wanted = {"id": query.get("messageId"), "sessionId": query.get("sessionId"), "chatId": query.get("chatId")}
        found = [
            message
            for message in self.messages
            if message["chatflowid"] == flow
            and all(value is None or message[name] == value for name, value in wanted.items())
            and _moment(query.get("startDate")) <= _moment(message["createdDate"])
        ]
        return JSONResponse(found[::-1] if query.get("order") == "DESC" else found)

    async def _chatflows(self, request: Request) -> Response:
        self._need_key(request)
        kind, page, limit = (request.query_params.get(name) for name in ("type", "page", "limit"))
        found = [_described(flow) for flow in self.flows if kind in (None, flow.kind)]
        if not page or not limit:
            return JSONResponse(found)
        start = (int(page) - 1) * int(limit)
        return JSONResponse({"data": found[start : start + int(limit)], "total": len(found)})

    async def _chatflow(self, request: Request) -> Response:
        self._need_key(request)
        return JSONResponse(_described(self._known(request.path_params["flow"])))

    async def _streaming(self, request: Request) -> Response:
        name = request.path_params["flow"]
        found = [flow for flow in self.flows if flow.id == name]
        if not found:
            _throw(f"Chatflow {name} not found", "chatflowsService.checkIfChatflowIsValidForStreaming")
        return JSONResponse({"isStreaming": found[0].streams})

    def _has_key(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"

    def _need_key(self, request: Request) -> None:
        if not self._has_key(request):
            refused = _Refused(401, "")
            refused.response = JSONResponse({"error": "Unauthorized Access"}, 401)
            raise refused


def _word(override: dict[str, Any]) -> str:
    """The word that a flow counts with, which a caller may choose, in two forms."""
    variables = override.get("functionInputVariables", {})
    given = json.loads(variables) if isinstance(variables, str) else variables.get("customFunction_0", {})
    return str(given.get("word", "turn"))


def _moment(date: str | None) -> datetime:
    return datetime.fromisoformat(date) if date else datetime.min.replace(tzinfo=UTC)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _pieces(events: list[str]) -> AsyncIterator[str]:
    for event in events:
        yield event


def _files(body: dict[str, Any]) -> Any:
    """The files of a question; those that are refused are so before the flow is run."""
    try:
        kept(body.get("uploads"))
    except ValueError as error:
        _throw(str(error))
    return body.get("uploads")


def _throw(message: str, service: str = "predictionsServices.buildChatflow") -> NoReturn:
    raise _Refused(500, f"Error: {service} - {message}")


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, _Refused)
    return error.response


async def _body(request: Request) -> dict[str, Any]:
    data = await request.body()
    if not data:
        return {}
    try:
        body = json.loads(data)
    except ValueError as error:
        raise _Refused(400, f"Expected property name or '}}' in JSON at position {error}") from error
    return body if isinstance(body, dict) else {}


async def _ping(_: Request) -> Response:
    return HTMLResponse("pong")


async def _version(_: Request) -> Response:
    return JSONResponse({"version": "3.1.4"})


async def _ui(request: Request) -> Response:
    """What Flowise answers under every path that it does not know."""
    return HTMLResponse(_PAGE) if request.method in ("GET", "POST") else PlainTextResponse("", 404)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _is_message(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("role") in ("apiMessage", "userMessage")
        and isinstance(item.get("content"), str)
    )


def _speaker(message: dict[str, Any]) -> str:
    return "Assistant" if message.get("role") == "apiMessage" else "Human"


def _executed(run: _Run, text: str) -> list[dict[str, Any]]:
    start = {"id": "startAgentflow_0", "name": "startAgentflow", "input": {"question": run.question}}
    reply = {"id": "directReplyAgentflow_0", "name": "directReplyAgentflow", "input": {}}
    return [
        {
            "nodeId": "startAgentflow_0",
            "nodeLabel": "Start",
            "data": {**start, "output": {"question": run.question}, "state": {}},
            "previousNodeIds": [],
            "status": "FINISHED",
        },
        {
            "nodeId": "directReplyAgentflow_0",
            "nodeLabel": "Direct Reply",
            "data": {**reply, "output": {"content": text}, "state": {}},
            "previousNodeIds": ["startAgentflow_0"],
            "status": "FINISHED",
        },
    ]


def _event(name: str, data: Any) -> str:
    return f"message:\ndata:{json.dumps({'event': name, 'data': data}, separators=(',', ':'))}\n\n"


def _described(flow: Chatflow) -> dict[str, Any]:
    return {"id": flow.id, "name": flow.name, "flowData": "{}", "type": flow.kind, "category": None}
