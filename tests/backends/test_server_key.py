"""A flow server that says its key finds it in nothing that we keep or show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentic_flywheel import Flywheel
from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.flowise import FlowiseFlow
from agentic_flywheel.backends.langflow import LangflowFlow
from agentic_flywheel.backends.server_key import ServerKey
from agentic_flywheel.config import Settings, StoreSettings
from agentic_flywheel.errors import FlowFailed
from agentic_flywheel.wiring import open_manager
from tests.backends.conftest import Connect
from tests.support.flow_servers import FlowiseServer, LangflowServer, ServedFlows, bare, saying
from tests.support.flow_servers.flowise import COUNTER, MODEL
from tests.support.flow_servers.langflow import COUNTS

PLAIN_KEY = 'planted/0123"456789&abcdef'  # of no well-known form, and one that JSON escapes


def stream(*events: tuple[str, Any]) -> bytes:
    """A stream of events, as both products send them."""
    return b"".join(b"data: %b\n\n" % json.dumps({"event": name, "data": data}).encode() for name, data in events)


FLOWISE = {
    "text": saying(200, {"text": f"you sent Bearer {PLAIN_KEY}", "chatId": "c"}),
    "field": saying(200, {"text": "yes", "headers": {"authorization": [f"Bearer {PLAIN_KEY}"], PLAIN_KEY: 1}}),
    "no text": saying(200, {"oops": f"key {PLAIN_KEY} is bad"}),
    "escaped": bare(json.dumps({"oops": PLAIN_KEY}).replace("/", "\\/").replace("&", "\\u0026").encode(), "a/json"),
    "refusal": saying(500, {"message": f"key {PLAIN_KEY} is bad"}),
    "bare": saying(200, PLAIN_KEY),
}
FLOWISE_STREAM = {
    "token": bare(stream(("token", f"it is {PLAIN_KEY}"), ("end", "")), "text/event-stream"),
    "two tokens": bare(
        stream(("token", PLAIN_KEY[:9]), ("token", PLAIN_KEY[9:]), ("end", "")), "text/event-stream"
    ),
    "error": bare(stream(("metadata", {PLAIN_KEY: 1}), ("error", PLAIN_KEY), ("end", "")), "text/event-stream"),
}
LANGFLOW = {
    "text": saying(200, {"outputs": [{"outputs": [{"results": {"message": {"text": PLAIN_KEY}}}]}]}),
    "no text": saying(200, {"oops": f"key {PLAIN_KEY} is bad"}),
    "refusal": saying(422, {"detail": f"key {PLAIN_KEY} is bad"}),
}


async def stored_after(
    flow: FlowiseFlow | LangflowFlow, served: ServedFlows, fault: Any, folder: Path
) -> tuple[dict[str, Any], str]:
    """The execution of a question that met a fault, and what its caller was told, the error or the answer."""
    settings = Settings(store=StoreSettings(url=f"sqlite://{folder}/s.db"), state_dir=str(folder / "state"))
    async with Flywheel(open_manager(settings), FlowRegistry([flow], flow.id)) as fw:
        session_id = (await fw.ask("hello", on_text=lambda _: None)).session_id
        served.fault = fault
        try:
            told = (await fw.ask("again", session_id=session_id, on_text=lambda _: None)).text
        except FlowFailed as error:
            told = str(error)
        served.fault = None
        entry = (await fw.sessions.load_history(session_id, flow.id))[-1]
        execution = await fw.sessions.load_execution(entry["id"])
        assert execution is not None
        assert (await fw.ask("and now", session_id=session_id)).text.endswith(": and now")
    return execution.to_dict(), told


def assert_the_key_is_nowhere(execution: dict[str, Any], told: str, folder: Path) -> None:
    assert PLAIN_KEY not in f"{execution}{told}"
    assert "[masked]" in str(execution) or "…" in str(execution)
    for file in folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert PLAIN_KEY.encode() not in data
            assert json.dumps(PLAIN_KEY)[1:-1].encode() not in data


@pytest.mark.parametrize("name", [*FLOWISE, *FLOWISE_STREAM])
async def test_flowise(name: str, connect: Connect, tmp_path: Path) -> None:
    """In answers, in fields of the reply, in streams, in errors; written in JSON one way or the other."""
    with FlowiseServer(key=PLAIN_KEY) as served:
        server = connect(served, key=PLAIN_KEY)
        streams = name in FLOWISE_STREAM
        flow = FlowiseFlow("f", server, MODEL if streams else COUNTER, stream=streams)
        fault = (FLOWISE | FLOWISE_STREAM)[name]
        assert_the_key_is_nowhere(*await stored_after(flow, served, fault, tmp_path), tmp_path)


@pytest.mark.parametrize("name", LANGFLOW)
async def test_langflow(name: str, connect: Connect, tmp_path: Path) -> None:
    with LangflowServer(key=PLAIN_KEY) as served:
        flow = LangflowFlow("f", connect(served, key=PLAIN_KEY), COUNTS)
        assert_the_key_is_nowhere(*await stored_after(flow, served, LANGFLOW[name], tmp_path), tmp_path)


def as_usual(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(
    st.recursive(
        st.text() | st.just("x" + PLAIN_KEY) | st.none() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just(PLAIN_KEY), inner),
    )
)
@example({"a": [PLAIN_KEY, {PLAIN_KEY: None}]})
def test_any_json(value: Any) -> None:
    """What does not hold the key is as it was sent; what does is the same with the mask in its place."""
    decoded = ServerKey(PLAIN_KEY).decoded(as_usual(value))
    assert as_usual(decoded) == as_usual(value).replace(as_usual(PLAIN_KEY)[1:-1], b"[masked]")
    assert ServerKey(None).decoded(as_usual(value)) == json.loads(as_usual(value))


@pytest.mark.parametrize("written", [as_usual, lambda value: b'"\\u0070lanted"'])
def test_a_key_that_is_written_with_escapes(written: Callable[[str], bytes]) -> None:
    assert ServerKey("planted").decoded(written("planted")) == "[masked]"


def test_a_key_that_is_too_short_to_be_looked_for() -> None:
    """It would spoil any text."""
    assert ServerKey("abc").decoded(b'"abc"') == "abc"
    assert ServerKey("abc").value == "abc"
