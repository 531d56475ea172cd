"""What sessions may hold, as hypothesis strategies, and comparing it to the type (not as in 1 == True == 1.0)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from agentic_flywheel import UniversalSession

PUBLISHED = """
{
  "id": "session_abc123",
  "backend": "flowise",
  "backend_session_id": "flowise_xyz",
  "status": "active",
  "current_flow_id": "csv2507",
  "context": {
    "topic": "structural tension",
    "previous_queries": ["What is creative orientation?"]
  },
  "history": [
    {
      "timestamp": "2025-11-18T10:00:00Z",
      "question": "What is creative orientation?",
      "flow_id": "csv2507",
      "response": "Creative orientation focuses on...",
      "duration_ms": 1234
    }
  ],
  "metadata": {
    "created_at": "2025-11-18T10:00:00Z",
    "last_active": "2025-11-18T10:05:00Z"
  }
}
"""
"""The document that the specification of a session shows."""


class Colour(Enum):
    RED = 1
    GREEN = "green"


def text() -> st.SearchStrategy[str]:
    """Any text that JSON gives back: lone surrogates too, but no pair of them written as two characters."""
    anything = st.text(st.characters(exclude_categories=()), max_size=20)
    return anything.filter(
        lambda value: value == value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    )


def json_scalars() -> st.SearchStrategy[Any]:
    numbers = st.integers() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
    return st.none() | st.booleans() | numbers | text()


def json_values() -> st.SearchStrategy[Any]:
    """Anything that JSON holds."""
    return _nested(json_scalars(), text())


def session_values() -> st.SearchStrategy[Any]:
    """Anything that a session holds, and dicts that look like the forms it is written in."""
    offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    moments = st.datetimes(timezones=st.none() | offsets).map(lambda moment: moment.replace(fold=0))
    tagged = moments | st.uuids() | st.binary(max_size=20) | st.sampled_from(Colour)
    return _nested(json_scalars() | tagged | _look_alikes(), text() | _tags())


def _nested(leaves: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


def _tags() -> st.SearchStrategy[str]:
    dollars = st.integers(0, 3).map("$".__mul__)
    return st.builds(str.__add__, dollars, st.sampled_from(["datetime", "uuid", "bytes", "enum", "other"]))


def _look_alikes() -> st.SearchStrategy[dict[str, Any]]:
    contents = (
        st.datetimes().map(datetime.isoformat)
        | st.uuids().map(UUID.__str__)
        | st.sampled_from(["", "3q2+7w==", "2025-11-18", ["tests.support.values:Colour", "RED"], ["gone:X", "Y"]])
    )
    return st.dictionaries(_tags(), contents, min_size=1, max_size=2)


def exactly(value: Any) -> Any:
    """Something that is equal only for values of the same types, digits and order of keys."""
    if isinstance(value, dict):
        return type(value).__name__, [(key, exactly(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value).__name__, repr(value)


def questions(session: UniversalSession) -> list[Any]:
    """What was asked in a session, in order."""
    return [turn.question for turn in session.history]
