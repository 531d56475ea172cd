"""Flows on a Langflow server, or on ``lfx serve``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import quote

from .base import Answer, Discovered, Message, Question
from .earlier import with_preface
from .events import Event
from .http_problems import Call, no_flows
from .http_reply import Reply
from .http_server import FlowServer
from .langflow_answers import Heard, run_texts, said, workflow_texts
from .langflow_memory import FLOWS, HEADERS_ONLY, WORKFLOWS, LangflowMemory, flows, names_of
from .parameters import Form
from .server_flow import ServerFlow, Teller, headers
from .shapes import as_object

_KEY = ("x-api-key", "")
_OURS = frozenset(("input_value", "session_id", "flow_id", "mode"))


def _swallowed(fields: Mapping[str, Any]) -> str | None:
    """What Langflow would not understand: it then runs the flow without the question, in another conversation."""
    for name, value in fields.get("tweaks", {}).items():
        if not isinstance(value, str | int | float | dict):
            return f"tweaks.{name} is {type(value).__name__}; it is an object, a text, a number or a boolean"
    for name in ("input_type", "output_type"):
        if fields.get(name, "chat") not in ("chat", "text", "any", "debug"):
            return f"{name} is {fields[name]!r}; it is 'chat', 'text' or 'any'"
    if not isinstance(fields.get("output_component", ""), str):
        return "output_component is no text"
    return None


_FORMS = {
    "run": Form("tweaks", frozenset(("input_type", "output_type", "output_component")), _OURS, _swallowed),
    "workflow": Form("tweaks", frozenset(("globals", "files")), _OURS),
}


class LangflowFlow(ServerFlow):
    """A flow of Langflow.

    With ``api`` "run" it is known by its id or endpoint name. With "workflow", which ``lfx serve`` speaks, too,
    by its id, or by a name that the server has an id for. Parameters are tweaks, or one of the request's own
    fields: ``input_type``, ``output_type`` and ``output_component`` of a run, ``globals`` and ``files`` of a
    workflow.

    Earlier turns are added to Langflow's messages. Where none can be added, as on ``lfx serve``, or they would come
    after later ones, they go before the question.
    """

    backend = "langflow"
    key_header = _KEY

    def __init__(
        self, id: str, server: FlowServer, flow: str, *, api: Literal["run", "workflow"] = "run", **options: Any
    ) -> None:
        self.form = _FORMS[api]
        super().__init__(id, server, flow, **options)
        self.api = api
        self.keeps = api == "run"
        self._keeps_nothing_in: object = None
        self._memory = LangflowMemory(self)
        self._path = f"/api/v1/run/{quote(flow, safe='')}"

    async def remind(self, question: Question) -> Question:
        replay = question.replay
        if replay is None or not replay.is_the_end:
            return question
        left = len(replay.turns) - await self._memory.add(replay, question.conversation)
        return replace(question, replay=replay.newest(left) if left else None)

    async def _run(self, question: Question, tell: Teller) -> Answer:
        streams = self.stream and tell.listens
        fields = self.fields_for(question)
        text = with_preface(question.replay.turns, question.text) if question.replay else question.text
        if self.api == "run":
            call = self._run_call(fields, text, question, streams)
        else:
            call = await self._workflow_call(fields, text, question, streams)
        async with self.server.open(call) as reply:
            output = await self._output(reply, call, tell)
        return Answer(self._text(output, question, call), output)

    def _run_call(self, fields: dict[str, Any], text: str, question: Question, streams: bool) -> Call:
        body = {
            "input_type": "chat",
            "output_type": "chat",
            **fields,
            "input_value": text,
            "session_id": question.conversation,
        }
        return self.running(f"{self._path}?stream=true" if streams else self._path, body, question)

    async def _workflow_call(self, fields: dict[str, Any], text: str, question: Question, streams: bool) -> Call:
        body = {
            **fields,
            "flow_id": await self._memory.flow_id(),
            "input_value": text,
            "session_id": question.conversation,
            "mode": "stream" if streams else "sync",
        }
        return self.running(WORKFLOWS, body, question)

    async def _output(self, reply: Reply, call: Call, tell: Teller) -> dict[str, Any]:
        """All that the flow gave, in the same form whether it was streamed or not."""
        if reply.kind != "text/event-stream":
            output = await reply.json()
            return output if isinstance(output, dict) else {"reply": output}
        heard = Heard(tell)

        def take(event: Event) -> None:
            if event.get("event") == "error":
                raise self.server.problems.failed(call, said(event.get("data")))
            heard.take(event)

        await reply.events(take)
        return heard.output

    def _text(self, output: dict[str, Any], question: Question, call: Call) -> str:
        """The answer for people.

        Raises:
            FlowFailed: there is none; or the server took the call for that of another conversation.
        """
        if self.api == "run" and output.get("session_id", question.conversation) != question.conversation:
            raise self.server.problems.failed(
                call, "it did not understand the call, and ran the flow outside of this conversation", output
            )
        texts = run_texts(output) if self.api == "run" else workflow_texts(output)
        if texts:
            return "\n\n".join(texts)
        if output.get("errors"):
            raise self.server.problems.failed(call, said(output["errors"]), output)
        raise self.server.problems.no_text(call, output, "let the flow end in a Chat Output")

    async def messages(
        self, conversation: str, *, newest: int | None = None, since: str | None = None
    ) -> list[Message] | None:
        if self._keeps_nothing_in is self.server.period:
            return None
        messages = await self._memory.newest(conversation, newest)
        self.keeps = messages is not None
        if messages is None:
            self._keeps_nothing_in = self.server.last_period
        return messages

    async def check(self) -> str:
        flow_id = await self._memory.flow_id()
        found = await self.server.fetch(self.asking(FLOWS + flow_id), missing=True)
        if found is None:
            found = await self.server.fetch(self.asking(f"/flows/{flow_id}/info"))
        told = as_object(found)
        name = told.get("name") or told.get("title") or self.flow
        return f"{name} on {self.server.url}{await self._unreadable()}"


async def discover(server: FlowServer) -> list[Discovered]:
    """The flows of a Langflow server, or of ``lfx serve``; not the examples that Langflow brings.

    Raises:
        FlowFailed: it cannot be asked; says why.
    """
    found = await flows(server, Call("discovery", FLOWS, headers(server, _KEY), HEADERS_ONLY))
    try:
        return [_discovered(each) for each in found]
    except (LookupError, TypeError, AttributeError) as error:
        raise no_flows(server.name, server.url) from error


def _discovered(flow: Any) -> Discovered:
    return Discovered(
        str(flow["id"]),
        str(flow.get("name") or flow.get("title")),
        str(flow.get("description") or ""),
        also=names_of(flow),
        api="workflow" if "relative_path" in flow else None,  # that is how lfx serve lists its flows
    )
