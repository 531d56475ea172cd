"""What Langflow answers, and where in it the text is."""

from __future__ import annotations

from typing import Any

from .events import Event
from .server_flow import Teller
from .shapes import as_list, as_object


class Heard:
    """Makes of the events of a run what would have been its reply without streaming, as far as they tell."""

    def __init__(self, tell: Teller) -> None:
        self._tell = tell
        self._result: dict[str, Any] | None = None
        self._outputs: dict[str, Any] = {}
        self._whole = ""

    def take(self, event: Event) -> None:
        """Take the next event; tell the pieces of the answer."""
        kind, data = event.get("event"), event.get("data")
        if not isinstance(data, dict):
            return
        if kind == "token":
            self._tell(str(data.get("chunk", "")))
        elif kind == "add_message":
            self._take_message(data)
        elif kind == "output":
            self._outputs[str(data.get("component_id"))] = data
        elif kind == "end" and isinstance(data.get("result"), dict):
            self._result = data["result"]

    def _take_message(self, message: dict[str, Any]) -> None:
        """Take a message; a flow that does not stream gives its answer in one."""
        state = as_object(message.get("properties")).get("state")
        if message.get("sender") == "Machine" and message.get("category") == "message" and state == "complete":
            self._whole = str(message.get("text"))
            if not self._tell.told:
                self._tell(self._whole)

    @property
    def output(self) -> dict[str, Any]:
        """The reply: of a run as Langflow gives it, of a workflow in the same form."""
        if self._result is not None:
            return self._result
        text = self._whole or None
        return {"status": "completed", "output": {"text": text}, "outputs": self._outputs}


def run_texts(output: dict[str, Any]) -> list[str]:
    """The texts in the reply to a run: one for each component that the flow ends in."""
    ends = [end for run in as_list(output.get("outputs")) for end in as_list(as_object(run).get("outputs"))]
    texts = [_text(result) for end in ends for result in as_object(as_object(end).get("results")).values()]
    return [text for text in texts if text is not None]


def workflow_texts(output: dict[str, Any]) -> list[str]:
    """The texts in the reply to a workflow: the one that Langflow takes for the answer, else all that there are."""
    text = as_object(output.get("output")).get("text")
    if isinstance(text, str):
        return [text]
    contents = [as_object(each).get("content") for each in as_object(output.get("outputs")).values()]
    return [content for content in contents if isinstance(content, str)]


def said(problem: Any) -> str:
    """What an error event, or the errors in a reply, say."""
    if isinstance(problem, list):
        return "; ".join(said(each) for each in problem)
    fields = problem if isinstance(problem, dict) else {"error": problem}
    texts = (fields.get(name) for name in ("error", "text", "message"))  # in a message, "error" is a flag
    return next((text for text in texts if isinstance(text, str) and text), "it does not say why")


def _text(result: Any) -> str | None:
    """The text of a message, or of another kind of output that has one."""
    if isinstance(result, str):
        return result
    fields = as_object(result)
    text = fields.get("text", as_object(fields.get("data")).get("text"))
    return text if isinstance(text, str) else None
