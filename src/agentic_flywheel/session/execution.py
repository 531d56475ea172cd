"""One run of a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from ..errors import BadInput
from .ids import new_id
from .times import now
from .turn import Turn
from .values import plain, plain_fields, rich_fields


@dataclass(kw_only=True)
class Execution:
    """One run of a flow: what was asked, what came out, how long it took, and what went wrong.

    It is stored under its own key and can be read after its session has ended. A turn and the execution
    that it records have one id. ``status`` is ``running``, ``completed``, ``failed``, ``cancelled`` or
    ``unknown`` (the answer did not arrive; the flow may have run). ``output`` is all that the flow gave,
    ``text`` its answer for people; a cancelled one has them where its server finished it and they were read
    back. ``started_at`` is ISO 8601 in UTC, ``duration_ms`` milliseconds. ``extra`` keeps fields that this
    version does not know.
    """

    id: str = field(default_factory=lambda: new_id("execution"))
    session_id: str | None = None
    flow_id: str | None = None
    backend: str | None = None
    status: str = "completed"
    question: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    text: str = ""
    error: str | None = None
    started_at: str = field(default_factory=now)
    duration_ms: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_turn(cls, turn: Turn, session_id: str, backend: str) -> Self:
        """The execution that a recorded turn stands for."""
        return cls(
            id=turn["id"],
            session_id=session_id,
            flow_id=turn.flow_id,
            backend=backend,
            question=turn.question,
            output=turn.response,
            text=turn.response if isinstance(turn.response, str) else "",
            started_at=turn.timestamp or now(),
            duration_ms=turn.duration_ms,
        )

    def entry(self) -> dict[str, Any]:
        """The execution's entry in the history of its flow: id, timestamp, question, status, duration_ms."""
        return {
            "id": self.id,
            "timestamp": self.started_at,
            "question": plain(self.question, "execution.question"),
            "status": self.status,
            "duration_ms": self.duration_ms,
        }

    def to_dict(self) -> dict[str, Any]:
        """The execution in JSON types.

        Raises:
            Unstorable: a value has no JSON form; names the path (``execution.output.image``).
        """
        own = {name: getattr(self, name) for name in _FIELDS}
        document = plain_fields(own, "execution")
        if document["text"] == document["output"]:  # said once
            del document["text"]
        extra = plain_fields(self.extra, "execution.extra")
        return document | {name: value for name, value in extra.items() if name not in _FIELDS}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The execution of a dict in JSON types; unknown fields are kept in ``extra``."""
        if not isinstance(document.get("id"), str):
            raise BadInput("an execution is an object with the text field 'id'")
        values = rich_fields(document)
        known = {name: values.pop(name) for name in _FIELDS if name in values}
        if "text" not in known and isinstance(known.get("output"), str):
            known["text"] = known["output"]
        return cls(**known, extra=values)


_FIELDS = tuple(f.name for f in fields(Execution) if f.name != "extra")
