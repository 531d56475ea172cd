"""A fingerprint tells of every change that the encoded head would tell of."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_flywheel import UniversalSession
from agentic_flywheel.codec import encode_head
from agentic_flywheel.secrecy import PLAIN
from agentic_flywheel.session.fingerprint import fingerprint
from tests.support.values import exactly, session_values, text

HELD = {"topic": "structural tension", "count": 1, "seen": ["a", "b"], "nested": {"deep": {"list": [1, 2]}}}


def session(**context: Any) -> UniversalSession:
    return UniversalSession(backend="custom", id="s", context=context, metadata={"last_active": "2025-11-18"})


@given(*[st.dictionaries(text(), session_values(), max_size=3)] * 2)
def test_two_heads_that_differ_have_two(one: dict[str, Any], other: dict[str, Any]) -> None:
    a, b = session(x=one), session(x=other)
    if fingerprint(a) is not None and fingerprint(a) == fingerprint(b):
        assert exactly(one) == exactly(other)
        assert encode_head(a, PLAIN) == encode_head(b, PLAIN)


def test_the_same_head_has_the_same() -> None:
    """How often a value is held, and by whom, makes no difference."""
    held = deepcopy(HELD)
    again = {"".join(key): deepcopy(value) for key, value in held.items()}
    assert fingerprint(session(**held)) == fingerprint(session(**again)) is not None


CHANGES: dict[str, Callable[[UniversalSession], object]] = {
    "to a bool": lambda s: s.context.update(count=True),
    "to a float": lambda s: s.context.update(count=1.0),
    "to a tuple": lambda s: s.context.update(seen=("a", "b")),
    "in a list": lambda s: s.context["seen"].append("c"),
    "deep inside": lambda s: s.context["nested"]["deep"]["list"].reverse(),
    "a key less": lambda s: s.context.pop("topic"),
    "metadata": lambda s: s.metadata.update(title="t"),
    "status": lambda s: setattr(s, "status", "ended"),
    "backend": lambda s: setattr(s, "backend", "flowise"),
    "backend_session_id": lambda s: setattr(s, "backend_session_id", "x"),
    "current_flow_id": lambda s: setattr(s, "current_flow_id", "f"),
    "extra": lambda s: s.extra.update(unknown=1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_change_is_told(change: Callable[[UniversalSession], object]) -> None:
    changed = session(**deepcopy(HELD))
    before = fingerprint(changed)
    change(changed)
    assert fingerprint(changed) != before


def test_the_moment_of_last_use_is_none() -> None:
    used = session()
    before = fingerprint(used)
    used.metadata["last_active"] = "2026-01-01"
    assert fingerprint(used) == before


@pytest.mark.parametrize("value", [datetime(2025, 11, 18, tzinfo=UTC), object()])
def test_what_json_lacks_has_none(value: object) -> None:
    assert fingerprint(session(x=value)) is None


def test_an_odd_moment_has_none() -> None:
    odd = session()
    odd.metadata["last_active"] = "at ten"
    assert fingerprint(odd) is None
    odd.metadata = None  # type: ignore[assignment]  # callers set anything
    assert fingerprint(odd) is None
