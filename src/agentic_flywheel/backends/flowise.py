"""Flows on a Flowise server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ..jsontext import encode
from .base import Answer, Discovered, Message, Question
from .earlier import asked, messages_of, with_preface
from .events import Event
from .flowise_streams import Streams
from .http_problems import Call, no_flows
from .http_reply import Reply
from .http_server import FlowServer
from .parameters import Form
from .server_flow import ServerFlow, Teller, headers
from .shapes import as_list, as_object

_KEY = ("authorization", "Bearer ")
_ROLES = {"user": "userMessage", "assistant": "apiMessage"}
_ALSO_SENT = {
    "sourceDocuments",
    "usedTools",
    "fileAnnotations",
    "agentReasoning",
    "artifacts",
    "action",
    "agentFlowExecutedData",
}
"""Events that bring, when an answer is streamed, what is a field of the reply when it is not."""
_PAGE = 50  # flows; each comes with all of its nodes


def _swallowed(fields: Mapping[str, Any]) -> str | None:
    """What Flowise would leave out, or spell letter by letter, without a word."""
    variables = as_object(fields.get("overrideConfig")).get("vars", {})
    if not isinstance(variables, Mapping):
        return f"vars is {type(variables).__name__}; it is an object, with a value for each variable"
    uploads = fields.get("uploads", [])
    if not isinstance(uploads, list) or not all(isinstance(each, Mapping) for each in uploads):
        return "uploads is no list of objects; each of these is a file"
    return None


class FlowiseFlow(ServerFlow):
    """A chatflow or an agentflow.

    Parameters are entries of its ``overrideConfig`` (``vars`` among them), or one of the request's own fields
    ``uploads``, ``form``, ``action``, ``humanInput`` and ``leadEmail``.

    Earlier turns from before all that Flowise has go along with a question as its history; other ones stand in its
    text, so that they come after what Flowise has. It does not keep that history, so this goes along with further
    questions, too, as long as its turns are among the newest that may be told again.
    """

    backend = "flowise"
    keeps_told = False
    key_header = _KEY
    form = Form(
        "overrideConfig",
        frozenset(("uploads", "form", "action", "humanInput", "leadEmail")),
        frozenset(("question", "streaming", "history", "chatId", "sessionId")),
        _swallowed,
    )

    def __init__(self, id: str, server: FlowServer, flow: str, **options: Any) -> None:
        super().__init__(id, server, flow, **options)
        self._path = quote(flow, safe="")
        self._streams = Streams(
            server,
            self.asking(f"/api/v1/chatflows-streaming/{self._path}"),
            self.asking(f"/api/v1/chatflows/{self._path}"),
        )

    async def _run(self, question: Question, tell: Teller) -> Answer:
        fields, replay = self.fields_for(question), question.replay
        streams = self.stream and tell.listens and await self._streams.are_possible()
        body = {
            **fields,
            "question": with_preface(replay.after, question.text) if replay else question.text,
            "overrideConfig": {**fields.get("overrideConfig", {}), "sessionId": question.conversation},
            "streaming": streams,
        }
        if replay and replay.before:
            earlier = messages_of(replay.before)
            body["history"] = [{"role": _ROLES[each.role], "content": each.text} for each in earlier]
        call = self.running(f"/api/v1/prediction/{self._path}", body, question)
        async with (self._streams if streams else self.server).open(call) as reply:
            output = await self._output(reply, call, tell)
        return Answer(self._text(output, call), output)

    async def _output(self, reply: Reply, call: Call, tell: Teller) -> Any:
        """All that the flow gave, in the same form whether it was streamed or not."""
        if reply.kind != "text/event-stream":
            return await reply.json()
        output: dict[str, Any] = {}
        pieces: list[str] = []

        def take(event: Event) -> None:
            kind, data = event.get("event"), event.get("data")
            if kind == "token" and isinstance(data, str):
                pieces.append(data)
                tell(data)
            elif kind == "metadata" and isinstance(data, dict):
                output.update(data)
            elif isinstance(kind, str) and kind in _ALSO_SENT:
                output[kind] = data
            elif kind == "error":
                raise self.server.problems.failed(call, str(data), output)

        await reply.events(take)
        text = self.server.key.cleared("".join(pieces))  # no piece holds the key, but two of them may
        return {"text": text, **output} if pieces else output

    def _text(self, output: Any, call: Call) -> str:
        """The answer for people.

        Raises:
            FlowFailed: there is none.
        """
        if isinstance(output, str):
            return output
        fields = as_object(output)
        if isinstance(fields.get("text"), str):
            return str(fields["text"])
        if fields.get("json") is not None:  # what a structured output parser makes
            return encode(fields["json"]).decode()
        raise self.server.problems.no_text(call, output, "let the flow end in a node that answers with text")

    async def messages(
        self, conversation: str, *, newest: int | None = None, since: str | None = None
    ) -> list[Message]:
        stored = await self._newest_first(newest, sessionId=conversation, **({"startDate": since} if since else {}))
        if since and not stored:
            stored = await self._newest_first(newest, sessionId=conversation)
        return [_message(each) for each in reversed(stored)]

    async def _newest_first(self, count: int | None, **which: str) -> list[dict[str, Any]]:
        """Stored messages; of many the newest. Flowise itself gives all that there are."""
        call = self.asking(f"/api/v1/chatmessage/{self._path}", params={**which, "order": "DESC"})
        async with self.server.open(call) as reply:
            stored = await reply.first(count)
        return [each for each in as_list(stored)[:count] if isinstance(each, dict)]

    async def check(self) -> str:
        found = await self.server.fetch(self.asking(f"/api/v1/chatflows/{self._path}"))
        name = as_object(found).get("name") or self.flow
        return f"{name} on {self.server.url}{await self._unreadable()}"


async def discover(server: FlowServer) -> list[Discovered]:
    """The chatflows and agentflows of a Flowise server.

    Raises:
        FlowFailed: it cannot be asked; says why.
    """
    found: list[Discovered] = []
    while True:
        params = {"page": str(len(found) // _PAGE + 1), "limit": str(_PAGE)}
        answer = await server.fetch(Call("discovery", "/api/v1/chatflows", headers(server, _KEY), params))
        try:
            page = answer["data"] if isinstance(answer, dict) else answer  # older versions know no pages
            found += [Discovered(str(each["id"]), str(each["name"])) for each in page]
            if not isinstance(answer, dict) or len(found) >= answer.get("total", 0) or len(page) < _PAGE:
                return found
        except (LookupError, TypeError) as error:
            raise no_flows(server.name, server.url) from error


def _message(stored: dict[str, Any]) -> Message:
    text, timestamp = str(stored.get("content")), stored.get("createdDate")
    return asked(text, timestamp) if stored.get("role") == "userMessage" else Message("assistant", text, timestamp)
