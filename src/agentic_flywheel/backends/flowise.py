"""Flows on a Flowise server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..errors import FlowFailed
from ..jsontext import encode
from ..session import Turn
from .base import Answer, Discovered, Message, Question
from .earlier import messages_of
from .events import Event
from .flowise_streams import Streams
from .http_problems import Call, no_flows
from .http_server import FlowServer, Reply
from .parameters import Form
from .recent import Recent
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


@dataclass(slots=True)
class _Side:
    """What Flowise has of a conversation: its last message, how many turns, and how many the session had then."""

    last: str
    turns: int
    of: int | None = None


class FlowiseFlow(ServerFlow):
    """A chatflow or an agentflow.

    Parameters are entries of its ``overrideConfig`` (``vars`` among them), or one of the request's own fields
    ``uploads``, ``form``, ``action``, ``humanInput`` and ``leadEmail``.

    Flowise takes earlier turns along with a question, and does not keep them. So they go along with further
    questions, too, as long as they are among the newest that may be replayed.
    """

    backend = "flowise"
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
        self._sides: Recent[_Side] = Recent()
        self._streams = Streams(
            server,
            self.asking(f"/api/v1/chatflows-streaming/{self._path}"),
            self.asking(f"/api/v1/chatflows/{self._path}"),
        )

    async def _run(self, question: Question, tell: Teller) -> Answer:
        fields = self.fields_for(question)
        streams = self.stream and tell.listens and await self._streams.are_possible()
        body = {
            **fields,
            "question": question.text,
            "overrideConfig": {**fields.get("overrideConfig", {}), "sessionId": question.conversation},
            "streaming": streams,
        }
        if earlier := question.replay or await self._lacking(question):
            body["history"] = [{"role": _ROLES[each.role], "content": each.text} for each in messages_of(earlier)]
        call = self.running(f"/api/v1/prediction/{self._path}", body, question)
        async with (self._streams if streams else self.server).open(call) as reply:
            output = await self._output(reply, call, tell)
        text = self._text(output, call)
        self._count(question, output)
        return Answer(text, output)

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

    async def _lacking(self, question: Question) -> list[Turn]:
        """The turns that Flowise does not have, of the newest ones that may go along with a question."""
        side = self._sides.get(question.conversation)
        history = question.session.history
        if side is None or side.turns >= min(self.replay_turns, len(history)):
            return []
        if side.of not in (None, len(history) + history.older):  # others asked it, too, or an answer came late
            try:
                side = await self._look(question.conversation)
            except FlowFailed:
                side = None
            if side is None:
                return []
        newest = list(history[-self.replay_turns :])
        for _ in range(side.turns):
            while newest and newest.pop().flow_id != self.id:
                pass
        return _within(newest, self.replay_bytes)

    def _count(self, question: Question, output: Any) -> None:
        """Know of one more turn that Flowise has, if it is known how many it had before."""
        history, known = question.session.history, self._sides.get(question.conversation)
        begins = question.replay or not (len(history) or history.older)
        if isinstance(output, dict) and output.get("chatMessageId") and (begins or known):
            before = known.turns if known and not begins else 0
            of = len(history) + history.older + 1
            self._sides.put(question.conversation, _Side(str(output["chatMessageId"]), before + 1, of))

    async def _remembers(self, conversation: str) -> bool:
        known = self._sides.get(conversation)
        if known is not None and await self._fetch_messages(messageId=known.last):
            return True
        return await self._look(conversation) is not None

    async def _look(self, conversation: str) -> _Side | None:
        """What Flowise has of a conversation; asks it.

        Raises:
            FlowFailed: it cannot be asked.
        """
        stored = await self._fetch_messages(sessionId=conversation)
        if not stored:
            self._sides.drop(conversation)
            return None
        asked = sum(1 for message in stored if message.get("role") == "userMessage")
        side = _Side(str(stored[-1].get("id")), asked)
        self._sides.put(conversation, side)
        return side

    async def messages(self, conversation: str) -> list[Message]:
        return [
            Message(
                "user" if message.get("role") == "userMessage" else "assistant",
                str(message.get("content")),
                message.get("createdDate"),
            )
            for message in await self._fetch_messages(sessionId=conversation)
        ]

    async def _fetch_messages(self, **which: str) -> list[dict[str, Any]]:
        call = self.asking(f"/api/v1/chatmessage/{self._path}", params=which)
        stored = await self.server.fetch(call)
        return [each for each in as_list(stored) if isinstance(each, dict)]

    async def check(self) -> str:
        found = await self.server.fetch(self.asking(f"/api/v1/chatflows/{self._path}"))
        return f"{as_object(found).get('name') or self.flow} on {self.server.url}"


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


def _within(turns: list[Turn], limit: int) -> list[Turn]:
    """The newest of these turns whose texts have together at most so many bytes."""
    size = 0
    for number in range(len(turns) - 1, -1, -1):
        size += sum(
            len(message.text.encode(errors="surrogatepass")) for message in messages_of(turns[number : number + 1])
        )
        if size > limit:
            return turns[number + 1 :]
    return turns
