"""A session and its document lose nothing on their way into each other."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_flywheel import Turn, UniversalSession
from agentic_flywheel.config import LONGEST_TTL as LONGEST_TTL_OF_SETTINGS
from agentic_flywheel.errors import BadInput, Newer, Unstorable
from agentic_flywheel.session import parse_time
from agentic_flywheel.session.model import LONGEST_TTL, SCHEMA
from tests.support.values import PUBLISHED, exactly, json_values, session_values, text

RESERVED = ["id", "backend", "status", "context", "metadata", "history", "schema", "revision", "layout"]
WRONG = [
    ({"backend": None}, "backend: is missing"),
    ({"backend": 5}, "backend: is int, not str"),
    ({"id": 5}, "id: is int, not str"),
    ({"id": ""}, "a session id is empty"),
    ({"status": ["active"]}, "status: is list, not str"),
    ({"context": []}, "context: is list, not dict"),
    ({"metadata": "none"}, "metadata: is str, not dict"),
    ({"current_flow_id": 7}, "current_flow_id: is int, not str or None"),
    ({"backend_session_id": {}}, "backend_session_id: is dict, not str or None"),
    ({"history": {}}, "history: is not a list of objects"),
    ({"history": ""}, "history: is not a list of objects"),
    ({"history": ["turn"]}, "history: is not a list of objects"),
    ({"history": [{}, None]}, "history: is not a list of objects"),
    ({"schema": "1"}, "schema: '1' is not a schema number"),
    ({"schema": True}, "schema: True is not a schema number"),
    ({"schema": -1}, "schema: -1 is not a schema number"),
    ({"schema": None}, "schema: None is not a schema number"),
    ({"schema": 1, "status": None}, "status: is NoneType, not str"),
]


class Status(StrEnum):
    ACTIVE = "active"


def document_of(session: UniversalSession) -> dict[str, Any]:
    """The document of a session as another program reads it, apart from the schema number."""
    document: dict[str, Any] = json.loads(session.to_json())
    assert document.pop("schema") == SCHEMA
    return document


def test_the_published_document() -> None:
    """The published document loads, and saving it loses nothing and adds the schema number alone."""
    session = UniversalSession.from_json(PUBLISHED)
    assert document_of(session) == json.loads(PUBLISHED)
    assert session.id == "session_abc123"
    assert session.context["previous_queries"] == ["What is creative orientation?"]
    assert session.history[0].response == "Creative orientation focuses on..."
    assert session.history[0].duration_ms == 1234


def test_defaults() -> None:
    """Only the backend has to be said."""
    session = UniversalSession(backend="flowise")
    assert (session.status, session.context, list(session.history), session.extra) == ("active", {}, [], {})
    assert (session.backend_session_id, session.current_flow_id, session.ttl_seconds) == (None, None, None)
    assert session.id.startswith("session_")
    assert session.metadata["created_at"] == session.metadata["last_active"]
    with pytest.raises(TypeError, match="backend"):
        UniversalSession()  # type: ignore[call-arg]  # that is the point


def test_nothing_is_shared_between_new_sessions() -> None:
    """Two new sessions have ids, contexts, metadata and histories of their own."""
    one, other = UniversalSession(backend="a"), UniversalSession(backend="a")
    one.context["key"] = one.metadata["key"] = 1
    one.record(question="q", response="r")
    assert one.id != other.id
    assert (other.context, len(other.history), "key" in other.metadata) == ({}, 0, False)


def test_record() -> None:
    """A recorded turn has its own id, the time in UTC and the published fields, and moves last_active."""
    session = UniversalSession.from_json(PUBLISHED)
    turn = session.record(question="And then?", response="More.", flow_id="other", duration_ms=12, tokens=7)
    assert session.history[-1] is turn
    assert list(turn) == ["id", "timestamp", "question", "flow_id", "response", "duration_ms", "tokens"]
    assert (turn.question, turn.flow_id, turn.response, turn.duration_ms) == ("And then?", "other", "More.", 12)
    assert turn.timestamp == session.metadata["last_active"]
    moment = parse_time(turn.timestamp)
    assert moment is not None
    assert moment.utcoffset() == datetime.now(UTC).utcoffset()
    assert session.record(question=1, response=2).flow_id == "csv2507"
    assert len({turn.id for turn in session.history}) == 3


def test_record_takes_id_and_time_from_its_caller() -> None:
    """A turn may bring its id and its time along; last_active is the moment of recording all the same."""
    session = UniversalSession.from_json(PUBLISHED)
    turn = session.record(question="q", response="r", id="turn_7", timestamp="2024-01-01T00:00:00Z")
    assert (turn.id, turn.timestamp) == ("turn_7", "2024-01-01T00:00:00Z")
    assert session.metadata["last_active"] > "2025-11-18T10:05:00Z"


@given(
    unknown=st.dictionaries(
        text().filter(lambda name: name not in {*RESERVED, *json.loads(PUBLISHED)}), json_values()
    ),
    status=text(),
    backend=text(),
)
def test_what_is_not_known_survives(unknown: dict[str, Any], status: str, backend: str) -> None:
    """Unknown statuses, backends, and fields at any level come through a load and a save."""
    document = json.loads(PUBLISHED)
    document |= {"status": status, "backend": backend, **unknown}
    document["context"]["unknown"] = unknown
    document["history"][0] |= {"unknown": unknown}
    document["metadata"] |= {"unknown": [unknown]}
    again = document_of(UniversalSession.from_dict(json.loads(json.dumps(document))))
    assert {name: exactly(value) for name, value in again.items()} == {
        name: exactly(value) for name, value in document.items()
    }


def test_turns_of_others() -> None:
    """Turns that others wrote as plain dicts survive, and read as turns whose fields may be missing."""
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "hi"},
        {},
        {"id": 5, "timestamp": None, "parts": [{}]},
    ]
    session = UniversalSession.from_dict({"backend": "custom", "history": turns})
    assert document_of(session)["history"] == turns
    assert (session.history[0].question, session.history[0].id) == (None, None)


@given(session_values(), session_values())
def test_values_anywhere(value: Any, other: Any) -> None:
    """What a session may hold comes back from context, metadata, turns and further fields alike."""
    session = UniversalSession(backend="custom", context={"v": value}, extra={"v": other})
    session.metadata["v"] = other
    session.record(question=value, response=other)
    again = UniversalSession.from_json(session.to_json())
    assert exactly([again.context, again.metadata, again.extra]) == exactly(
        [session.context, session.metadata, session.extra]
    )
    assert exactly(again.history[0]) == exactly(session.history[0])


@pytest.mark.parametrize("where", ["context", "metadata", "extra"])
def test_fields_called_like_a_value(where: str) -> None:
    """A context, or metadata, whose only key is called like the form of a value keeps that key."""
    values = {"$uuid": "12345678-1234-5678-1234-567812345678"}
    session = UniversalSession(backend="custom")
    setattr(session, where, dict(values))
    again = UniversalSession.from_json(session.to_json())
    assert getattr(again, where) == values
    by_others = {"backend": "custom"} | (values if where == "extra" else {where: values})
    assert document_of(UniversalSession.from_dict(by_others)).items() >= by_others.items()


def test_ttl_seconds() -> None:
    """A session's own time to live travels in its metadata; None takes it away."""
    session = UniversalSession(backend="custom")
    for seconds in (0, 60, LONGEST_TTL):
        session.ttl_seconds = seconds
        assert UniversalSession.from_json(session.to_json()).ttl_seconds == seconds
    session.ttl_seconds = None
    assert "ttl_seconds" not in session.metadata


@pytest.mark.parametrize("seconds", [-1, True, 1.5, "60", LONGEST_TTL + 1])
def test_wrong_ttl_seconds(seconds: Any) -> None:
    """A time to live that is none is refused when it is set, and passed over when others wrote it."""
    session = UniversalSession(backend="custom")
    with pytest.raises(BadInput, match="whole number of seconds"):
        session.ttl_seconds = seconds
    session.metadata["ttl_seconds"] = seconds
    assert session.ttl_seconds is None
    assert document_of(session)["metadata"]["ttl_seconds"] == seconds


def test_the_longest_ttl_is_one() -> None:
    """Sessions and settings agree on the longest time to live."""
    assert LONGEST_TTL == LONGEST_TTL_OF_SETTINGS


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names(name: str) -> None:
    """Further fields cannot take a name that has its place."""
    with pytest.raises(BadInput, match=f"extra.{name}: this field has a place of its own"):
        UniversalSession(backend="custom", extra={name: 1}).to_dict()


def test_upgrade() -> None:
    """A document without a schema number may say null where there is a default."""
    published = ("status", "context", "metadata", "current_flow_id", "backend_session_id", "history")
    session = UniversalSession.from_dict({"backend": "custom", **dict.fromkeys(published)})
    assert (session.status, session.context, list(session.history)) == ("active", {}, [])
    assert UniversalSession.from_dict({"backend": "custom", "schema": 0}).to_dict()["schema"] == SCHEMA


def test_newer() -> None:
    """A document of a newer schema is refused loudly, with both numbers and the way on."""
    with pytest.raises(Newer, match=r"has schema 2; .* reads up to 1: upgrade it"):
        UniversalSession.from_dict(json.loads(PUBLISHED) | {"schema": SCHEMA + 1})


@pytest.mark.parametrize(("change", "problem"), WRONG, ids=str)
def test_wrong_types(change: dict[str, Any], problem: str) -> None:
    """A published field of a wrong type is named."""
    with pytest.raises(BadInput, match=problem):
        UniversalSession.from_dict({"backend": "custom"} | change)


@pytest.mark.parametrize(
    ("name", "value"),
    [("backend", None), ("status", Status.ACTIVE), ("context", None), ("metadata", []), ("current_flow_id", 5)],
)
def test_wrong_types_are_not_written(name: str, value: Any) -> None:
    """A session that could not be read again is not written in the first place."""
    session = UniversalSession(backend="custom")
    setattr(session, name, value)
    with pytest.raises(BadInput, match=f"{name}: is "):
        session.to_json()


@pytest.mark.parametrize(
    "data", ["", "[]", "null", '"text"', '{"backend":"custom"', "{'backend': 1}", b"\xff"], ids=repr
)
def test_no_documents(data: str | bytes) -> None:
    """Text that is no session document is refused as such."""
    with pytest.raises(BadInput, match="not a session document"):
        UniversalSession.from_json(data)


def test_refused_values_are_named() -> None:
    """A value that JSON cannot hold is named by its path in the document."""
    session = UniversalSession(backend="custom", context={"user": {"socket": object()}})
    with pytest.raises(Unstorable, match=r"^context\.user\.socket: "):
        session.to_json()
    session.context.clear()
    session.record(question="q", response={"image": {1}})
    with pytest.raises(Unstorable, match=r"^history\[0\]\.response\.image: "):
        session.to_json()


def test_copies_are_their_own() -> None:
    """Copies and pickles are equal sessions whose turns are not the original's."""
    session = UniversalSession.from_json(PUBLISHED)
    for twin in (copy.deepcopy(session), pickle.loads(pickle.dumps(session))):  # noqa: S301  # our own
        assert twin == session
        assert type(twin.history[0]) is Turn
        twin.record(question="q", response="r")
        twin.history[0]["response"] = "another"
        assert document_of(session) == json.loads(PUBLISHED)


def test_a_history_belongs_to_one_session() -> None:
    """A history that is given to another session is copied, as it is by a shallow copy."""
    session = UniversalSession.from_json(PUBLISHED)
    for other in (UniversalSession(backend="custom", history=session.history), copy.copy(session)):
        assert other.history == session.history
        other.record(question="q", response="r")
        assert len(session.history) == 1


def test_a_plain_list_becomes_a_history() -> None:
    """A list of dicts that is set as the history is turned into turns."""
    session = UniversalSession(backend="custom")
    session.history = [{"question": "q"}]  # type: ignore[assignment]  # accepted all the same
    assert session.history[0].question == "q"
