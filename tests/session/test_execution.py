"""An execution and its document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from agentic_flywheel import Execution, UniversalSession
from agentic_flywheel.errors import BadInput, Unstorable
from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.session import parse_time
from tests.support.values import exactly, session_values


def there_and_back(execution: Execution) -> Execution:
    return Execution.from_dict(decode(encode(execution.to_dict())))


def test_defaults() -> None:
    """An execution needs nothing said: it has an id of its own and began now."""
    one, other = Execution(), Execution()
    assert one.id.startswith("execution_")
    assert one.id != other.id
    assert one.status == "completed"
    moment = parse_time(one.started_at)
    assert moment is not None
    assert moment.tzinfo is UTC or moment.utcoffset() == datetime.now(UTC).utcoffset()


@given(session_values())
def test_round_trip(value: Any) -> None:
    """Whatever a flow was given and gave comes back, and so do fields that this version does not know."""
    execution = Execution(
        id="turn_1",
        session_id="session_1",
        flow_id="csv2507",
        question=value,
        parameters={"p": value},
        output=value,
        extra={"tokens": value, "$uuid": "12345678-1234-5678-1234-567812345678"},
    )
    again = there_and_back(execution)
    assert again == execution
    assert exactly(again.output) == exactly(value)
    assert exactly(again.extra) == exactly(execution.extra)


def test_of_a_turn() -> None:
    """The execution of a turn has the turn's id and says the same."""
    session = UniversalSession(backend="flowise", id="s")
    turn = session.record(question="q", response="r", flow_id="f", duration_ms=7)
    execution = Execution.of_turn(turn, "s", "flowise")
    assert (execution.id, execution.session_id, execution.flow_id) == (turn.id, "s", "f")
    assert (execution.question, execution.output, execution.duration_ms) == ("q", "r", 7)
    assert (execution.started_at, execution.status, execution.backend) == (turn.timestamp, "completed", "flowise")


def test_entry() -> None:
    """The entry in a flow's history holds id, timestamp, question, status and duration, no output."""
    execution = Execution(id="e", question="q", status="failed", started_at="2025-11-18T10:00:00Z", output="long")
    assert execution.entry() == {
        "id": "e",
        "timestamp": "2025-11-18T10:00:00Z",
        "question": "q",
        "status": "failed",
        "duration_ms": None,
    }


def test_extra_never_hides_a_field() -> None:
    """An unknown field cannot take the place of a known one."""
    assert Execution(id="e", status="failed", extra={"status": "completed"}).to_dict()["status"] == "failed"


def test_refusals() -> None:
    """What JSON cannot hold is named by its path; a document without an id is none."""
    with pytest.raises(Unstorable, match=r"execution\.output\.image: "):
        Execution(output={"image": object()}).to_dict()
    with pytest.raises(BadInput, match="the text field 'id'"):
        Execution.from_dict({"status": "completed"})
