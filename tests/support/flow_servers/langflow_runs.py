"""A flow of Langflow that is run, and what Langflow tells of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

INPUT, OUTPUT = "ChatInput-flywh", "ChatOutput-flywh"
BROKEN = "Error building Component Counter: \n\nthe flow broke on purpose"


@dataclass(frozen=True)
class Flow:
    """A flow: whether its answer comes in pieces, and whether it has a Chat Input, which keeps messages."""

    id: str
    name: str
    endpoint: str | None = None
    description: str = ""
    streams: bool = False
    entry: bool = True


class Broken(Exception):
    """The flow threw."""


class Run:
    """A question to a flow, and the store that its messages go to, if there is one."""

    def __init__(
        self,
        store: list[dict[str, Any]] | None,
        flow: Flow,
        text: str,
        session: str,
        tweaks: Any = None,
        output: str = OUTPUT,
    ) -> None:
        self.flow = flow
        self.output = output
        self.text = text
        self.session = session
        self.answer = ""
        self.message: dict[str, Any] = {}
        self.problem: dict[str, Any] = {}
        self.inputs = tweaks or {}
        self._store = store

    @property
    def remembers(self) -> bool:
        """Whether messages are kept."""
        return self._store is not None

    def events(self) -> Iterator[tuple[str, Any]]:
        """What happens, up to the answer, which is kept."""
        if self.flow.entry:
            yield "add_message", self.keep("User", self.text)
        if self.text == "boom":
            self.problem = self.keep("Counter", "the flow broke on purpose\n", category="error")
            raise Broken
        self.answer = self._answered()
        if self.flow.streams:
            pieces = re.findall(r"\S+\s*", self.answer)
            yield "add_message", message(self, "Machine", pieces[0], state="partial")
            for piece in pieces:
                yield "token", {"chunk": piece, "id": "0"}
        self.message = (
            self.keep("Machine", self.answer) if self.flow.entry else message(self, "Machine", self.answer)
        )
        yield "add_message", self.message

    def _answered(self) -> str:
        if self._store is None or not self.flow.entry:
            return f"heard: {self.text}"
        said = [each for each in self._store if each["session_id"] == self.session]
        said = [each for each in said if each["flow_id"] == self.flow.id and each["category"] == "message"]
        if self.text == "what did I say?":
            return " / ".join(f"{each['sender']}: {each['text']}" for each in said)
        tweaked = self.inputs.get("Counter-flywh", self.inputs.get("Counter", {}))
        return f"{tweaked.get('word', 'turn')} {sum(each['sender'] == 'User' for each in said)}: {self.text}"

    def keep(self, sender: str, text: str, *, category: str = "message") -> dict[str, Any]:
        """Keep a message; the event that tells of it."""
        event = message(self, sender, text, category=category)
        if self._store is not None:
            told = event["data"].items()
            kept = {name: value for name, value in told if name not in ("files", "error", "run_id")}
            self._store.append({**kept, "files": "[]"})
        return event


def message(
    run: Run, sender: str, text: str, *, category: str = "message", state: str = "complete"
) -> dict[str, Any]:
    counter = {"id": "Counter-flywh", "display_name": "Counter", "source": "Counter"}
    properties: dict[str, Any] = {
        "text_color": None,
        "background_color": None,
        "edited": False,
        "source": dict.fromkeys(counter) if sender == "User" else counter,
        "icon": None,
        "allow_markdown": False,
        "positive_feedback": None,
        "state": state,
        "targets": [],
        "usage": None,
        "build_duration": None,
    }
    fields = {
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
        "sender": sender,
        "sender_name": {"User": "User", "Machine": "AI"}.get(sender, sender),
        "session_id": run.session,
        "context_id": "",
        "text": text,
        "files": [],
        "error": category == "error",
        "edit": False,
        "properties": properties,
        "category": category,
        "content_blocks": [],
        "session_metadata": {"graph_run_id": str(uuid4())} if run.remembers else None,
        "id": str(uuid4()),
        "flow_id": run.flow.id,
        "run_id": str(uuid4()),
        "duration": None,
    }
    return {"text_key": "text", "data": fields, "default_value": "", **fields}


def run_events(run: Run) -> Iterator[tuple[str, Any]]:
    try:
        yield from run.events()
    except Broken:
        yield "error", run.problem
        yield "error", {"error": f"500: {broken_reply()}"}
    else:
        yield "end", {"result": run_reply(run)}


def broken_reply() -> str:
    """What Langflow says of a run that failed: JSON in a text."""
    problem = {"message": f"Error running graph: {BROKEN}", "traceback": None}
    return json.dumps({**problem, "description": None, "code": None, "suggestion": None}, separators=(",", ":"))


def run_reply(run: Run) -> dict[str, Any]:
    said = {"message": run.answer, "sender": "Machine", "sender_name": "AI", "files": []}
    end = {
        "results": {"message": {name: value for name, value in run.message.items() if name != "id"}},
        "artifacts": {**said, "type": "object"},
        "outputs": {"message": {"message": run.answer, "type": "text"}},
        "logs": {"message": []},
        "messages": [
            {**said, "session_id": run.session, "stream_url": None, "component_id": OUTPUT, "type": "text"}
        ],
        "timedelta": None,
        "duration": None,
        "component_display_name": "Chat Output",
        "component_id": OUTPUT,
        "used_frozen_result": False,
        "token_usage": None,
    }
    inputs = {"input_value": run.text} if run.text else {}
    return {"session_id": run.session, "outputs": [{"inputs": inputs, "outputs": [end]}]}


def workflow_reply(run: Run, body: dict[str, Any], *, broken: bool = False) -> dict[str, Any]:
    output = {"reason": "single", "text": run.answer, "source": run.output}
    details = {"flow_id": run.flow.id, "error_type": "ValueError"}
    error = {"error": f"Error running graph: {BROKEN}", "code": "EXECUTION_ERROR", "details": details}
    return {
        "flow_id": run.flow.id,
        "session_id": None if broken else run.session,
        "job_id": str(uuid4()),
        "object": "response",
        "created_timestamp": datetime.now(UTC).isoformat(),
        "status": "failed" if broken else "completed",
        "output": {"reason": "failed", "text": None, "source": None} if broken else output,
        "errors": [error] if broken else [],
        "warnings": [],
        "inputs": run.inputs,
        "globals": body.get("globals", {}),
        "outputs": {} if broken else {run.output: component(run.answer)},
        "human_request": None,
        "has_errors": broken,
    }


def component(content: str) -> dict[str, Any]:
    kind = {"component_type": "ChatOutput"}
    return {
        "type": "message",
        "status": "completed",
        "display_name": "Chat Output",
        "content": content,
        "metadata": kind,
    }
