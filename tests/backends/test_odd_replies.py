"""Whatever JSON a server answers with: an answer that is text, or a clear error that names the flow."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentic_flywheel import UniversalSession
from agentic_flywheel.backends import Question
from agentic_flywheel.backends.flowise import FlowiseFlow
from agentic_flywheel.backends.http_server import FlowServer
from agentic_flywheel.backends.langflow import LangflowFlow
from agentic_flywheel.backends.server_flow import ServerFlow
from agentic_flywheel.errors import FlowFailed
from tests.support.flow_servers import KEY, FlowiseServer, LangflowServer, ServedFlows, bare, saying
from tests.support.flow_servers.flowise import COUNTER, MODEL
from tests.support.flow_servers.langflow import COUNTS, STREAMS

KINDS: dict[str, tuple[type[ServedFlows], type[ServerFlow], str, dict[str, Any]]] = {
    "flowise": (FlowiseServer, FlowiseFlow, COUNTER, {}),
    "flowise-stream": (FlowiseServer, FlowiseFlow, MODEL, {"stream": True}),
    "langflow": (LangflowServer, LangflowFlow, COUNTS, {}),
    "langflow-stream": (LangflowServer, LangflowFlow, STREAMS, {"stream": True}),
    "langflow-workflow": (LangflowServer, LangflowFlow, COUNTS, {"api": "workflow"}),
}
NAMES = [
    *("text", "output", "outputs", "results", "message", "data", "content", "errors", "error", "json", "detail"),
    *("loc", "msg", "session_id", "chatMessageId", "id", "event", "token", "metadata", "end", "add_message"),
    *("chunk", "properties", "state", "sender", "category", "result", "component_id"),
]
VALUES = (*NAMES, "Machine", "complete", "talk-1", '{"detail": []}')
DEEP = "[" * 700 + "]" * 700
ODD = [
    '{"outputs": 5}',
    '{"outputs": {"a": 1}}',
    '{"outputs": [{"outputs": 5}]}',
    '{"outputs": [{"outputs": [5, {"results": [1]}]}]}',
    '{"output": "text"}',
    '{"output": 5, "outputs": [1]}',
    '{"output": {"text": 5}, "outputs": {"a": 5}}',
    '{"event": [5]}',
    DEEP,
    f'{{"message": {DEEP}}}',
]


def values() -> st.SearchStrategy[Any]:
    """JSON made of the names that replies have, in places where they have not."""
    leaves = (
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(VALUES) | st.text()
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    )


def streams() -> st.SearchStrategy[bytes]:
    """Events of any content, and the last one."""
    events = st.dictionaries(st.sampled_from(("event", "data")), values(), max_size=2)
    return st.lists(events, max_size=5).map(
        lambda found: b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in [*found, {"event": "end"}])
    )


async def ask(flow: ServerFlow) -> None:
    """Ask, and see that there is an answer, or a clear error."""
    clear: object = True
    try:
        answer = await flow.ask(
            Question("q", UniversalSession(backend="any", backend_session_id="talk-1"), on_text=lambda _: None)
        )
        told = answer.text
    except FlowFailed as error:
        told = str(error)
        clear = re.match("flow 'notes'.* server 'studio' at ", told)
    assert isinstance(told, str)
    assert clear


@pytest.mark.parametrize("kind", KINDS)
def test_any_answer(kind: str) -> None:
    """As an answer, as an error, and in a stream."""
    made, flows, flow_id, options = KINDS[kind]
    with made(key=KEY) as served, asyncio.Runner() as runner:
        flow = flows("notes", FlowServer("studio", served.url, key=KEY), flow_id, **options)

        @settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
        @given(values(), st.sampled_from([200, 200, 400, 422, 500]), streams())
        def asked(value: Any, status: int, stream: bytes) -> None:
            served.fault = saying(status, value)
            runner.run(ask(flow))
            served.fault = bare(stream, "text/event-stream")
            runner.run(ask(flow))

        asked()
        runner.run(flow.close())


@pytest.mark.parametrize("kind", KINDS)
async def test_odd_answers(kind: str) -> None:
    """Those that were not understood once, and those that nobody can look into."""
    made, flows, flow_id, options = KINDS[kind]
    with made(key=KEY) as served:
        flow = flows("notes", FlowServer("studio", served.url, key=KEY), flow_id, **options)
        for body in ODD:
            for status in (200, 500):
                served.fault = bare(body.encode(), "application/json", status)
                await ask(flow)
            served.fault = bare(f'{{"event": "error", "data": {body}}}'.encode(), "text/event-stream")
            await ask(flow)
        await flow.close()
