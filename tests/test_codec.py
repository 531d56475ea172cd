"""Two states of one session are merged key by key, and turns are known by what they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_flywheel import Execution, UniversalSession
from agentic_flywheel.codec import (
    decode_execution,
    decode_session,
    encode_execution,
    encode_head,
    interleave,
    later,
    merge_heads,
    missing,
    put_back,
    summarize,
)
from agentic_flywheel.errors import Damaged, Newer, Unstorable
from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.secrecy import PLAIN
from agentic_flywheel.stores import Listed, Mark, Stored
from tests.support.values import PUBLISHED, exactly, json_values

MARK = Mark("v", "e", 1, 0)


def head(**fields: Any) -> bytes:
    return encode({"metadata": fields.pop("metadata", {}), "backend": "custom", **fields})


def merged(base: bytes | None, ours: bytes, theirs: bytes) -> Any:
    return decode(merge_heads(base, ours, theirs))


def turns(*values: Any) -> list[bytes]:
    return [encode(value) for value in values]


def stored(data: bytes, last_active: str | None = None) -> Stored:
    return Stored(MARK, data, last_active, ())


class TestMerge:
    """`merge_heads`, three-way."""

    BASE = head(status="active", context={"a": 1, "b": 2, "c": 3}, metadata={"title": "old"})

    def test_each_key_from_the_side_that_changed_it(self) -> None:
        """Fields, and keys of context and metadata, come from the side that changed, added or removed them."""
        ours = head(status="active", context={"a": 10, "b": 2, "mine": 1}, metadata={"title": "new"}, extra=1)
        theirs = head(status="paused", context={"b": 20, "c": 3, "a": 1, "theirs": 2}, metadata={"title": "old"})
        assert merged(self.BASE, ours, theirs) == {
            "metadata": {"title": "new"},
            "backend": "custom",
            "status": "paused",
            "context": {"a": 10, "b": 20, "mine": 1, "theirs": 2},
            "extra": 1,
        }

    def test_ours_wins_where_both_changed(self) -> None:
        """A key that both sides changed, or that one removed and the other changed, is as ours has it."""
        ours = head(status="mine", context={"a": 10, "c": 3})
        theirs = head(status="theirs", context={"a": 20, "b": 30})
        assert merged(self.BASE, ours, theirs)["status"] == "mine"
        assert merged(self.BASE, ours, theirs)["context"] == {"a": 10}

    def test_metadata_come_first(self) -> None:
        """Whatever is merged, the head begins with the metadata, as the stores expect."""
        theirs = encode({"backend": "x", "status": "paused", "metadata": {}})
        assert merge_heads(None, encode({"context": {}, "metadata": {}}), theirs).startswith(b'{"metadata":{')

    @pytest.mark.parametrize(("was", "is_now"), [(1, True), (1, 1.0), (0, False), (0.0, -0.0), ([1], [True])])
    def test_changes_that_python_does_not_see(self, was: Any, is_now: Any) -> None:
        """A change to a value that Python calls equal is a change."""
        base, ours = head(context={"a": was, "b": was}), head(context={"a": is_now, "b": was})
        theirs = head(context={"a": was, "b": was}, status="changed")
        assert exactly(merged(base, ours, theirs)["context"]) == exactly({"a": is_now, "b": was})

    def test_without_a_base(self) -> None:
        """Where nothing is known of the past, nobody's key is lost, and ours wins."""
        result = merged(None, head(context={"a": 1, "b": 1}), head(context={"b": 2, "c": 2}))
        assert result["context"] == {"a": 1, "b": 1, "c": 2}

    def test_a_context_that_is_none(self) -> None:
        """A context that one side has made something else is no reason to fail."""
        assert merged(self.BASE, head(context={"a": 5}), head(context=None))["context"] == {"a": 5}

    CONTEXTS = st.dictionaries(st.sampled_from("abcd"), json_values(), max_size=4)

    @given(CONTEXTS, CONTEXTS)
    def test_one_side_alone(self, base: dict[str, Any], changed: dict[str, Any]) -> None:
        """Where one side alone changed something, its state is the result, whichever side it is."""
        was, now = head(context=base), head(context=changed)
        assert merged(was, now, was)["context"] == changed
        assert merged(was, was, now)["context"] == changed
        assert merged(was, now, now)["context"] == changed

    @given(CONTEXTS, CONTEXTS, CONTEXTS)
    def test_every_key_has_an_owner(
        self, base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
    ) -> None:
        """Every key of the result is as ours has it, unless ours left it alone: then it is as theirs has it."""
        result = merged(head(context=base), head(context=ours), head(context=theirs))["context"]
        gone = "gone"
        for key in {*base, *ours, *theirs}:
            was, mine, other = (exactly(side[key]) if key in side else gone for side in (base, ours, theirs))
            assert (exactly(result[key]) if key in result else gone) == (other if mine == was else mine)


def test_missing_by_id() -> None:
    """A turn with an id is known by it, whatever else it says."""
    ours = turns({"id": "a", "text": "mine"}, {"id": "b"}, {"id": "c"})
    assert missing(ours, turns({"text": "theirs", "id": "a"}, {"id": "c"})) == turns({"id": "b"})


def test_missing_without_ids() -> None:
    """A turn without an id is known by what it says, in any order of its fields, and by how often."""
    hello = {"role": "user", "content": "hello"}
    turned = {"content": "hello", "role": "user"}
    assert missing(turns(hello, hello, {"id": 5}), turns(turned)) == turns(hello, {"id": 5})
    assert missing(turns(hello), turns(hello, hello)) == []


@given(
    st.lists(st.sampled_from(["a", "b", None]), max_size=6), st.lists(st.sampled_from(["a", "b", None]), max_size=6)
)
def test_nothing_is_missing_twice(ours: list[str | None], theirs: list[str | None]) -> None:
    """What is missing, added to what is there, leaves nothing missing."""
    mine = turns(*({"id": name} for name in ours))
    there = turns(*({"id": name} for name in theirs))
    assert missing(mine, [*there, *missing(mine, there)]) == []


def test_interleave() -> None:
    """What one side lacks goes before the turn that followed it, each occurrence of equal turns for itself."""
    a, b, x, y, same = turns({"id": "a"}, {"id": "b"}, {"id": "x"}, {"id": "y"}, {"role": "user"})
    assert interleave([a, b], [x, a, y, b, x]) == [x, a, y, b, x]
    assert interleave([b, a], [a, x, b, y]) == [x, b, a, y]
    assert interleave([same, a], [same, a, same]) == [same, a, same]
    assert interleave([same, a, same], [same]) == [same, a, same]
    assert interleave([], [a, b]) == interleave([a, b], []) == [a, b]


def said(*seconds: int) -> list[bytes]:
    """Turns, each by its time."""
    return turns(*({"id": f"{n}", "timestamp": f"2025-11-18T10:00:{n:02}Z"} for n in seconds))


def test_put_back_between_what_surrounds_it() -> None:
    """A turn that theirs lost stands behind what preceded it in ours and before what followed it there."""
    assert put_back(said(1, 4), said(1, 2, 3, 4, 5)) == said(1, 2, 3, 4, 5)
    assert put_back(said(), said(1, 2)) == said(1, 2)
    assert put_back(said(1, 2), said()) == said(1, 2)


def test_put_back_by_time_among_turns_of_others() -> None:
    """Among turns that only theirs has, a lost one stands by its time; one without a time stands behind them."""
    assert put_back(said(1, 3, 7), said(1, 5)) == said(1, 3, 5, 7)
    timeless = turns({"id": "x"})
    assert put_back(said(1, 3), [*said(1), *timeless]) == [*said(1, 3), *timeless]


def test_put_back_where_the_orders_contradict_each_other() -> None:
    """Where the two have turns of others in another order, the time of a lost one decides; none is doubled."""
    assert put_back(said(30, 10), said(10, 20, 30)) == said(20, 30, 10)
    assert put_back(said(3, 1), said(1, 5, 3)) == said(3, 1, 5)


@given(st.permutations(range(8)), st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_put_back_loses_and_doubles_nothing(theirs: list[int], ours: list[int], lost: set[int]) -> None:
    """Every turn of both is there once, and theirs keep their order, whatever the two orders are."""
    there = [number for number in theirs if number not in lost]
    back = put_back(said(*there), said(*ours))
    assert sorted(back) == sorted(said(*range(8)))
    assert [line for line in back if line in said(*there)] == said(*there)


def test_later() -> None:
    """The later of two moments is told by time, not by text, and something is later than nothing."""
    assert later("2025-11-18T10:00:00+01:00", "2025-11-18T09:30:00Z") == "2025-11-18T09:30:00Z"
    assert later(None, "2025-11-18T09:30:00Z") == later("2025-11-18T09:30:00Z", None) == "2025-11-18T09:30:00Z"
    assert later(None, None) is None


def test_head_and_back() -> None:
    """A session comes back of its head and the moment that is kept apart."""
    session = UniversalSession.from_json(PUBLISHED)
    packed, last_active = encode_head(session, PLAIN)
    assert last_active == "2025-11-18T10:05:00Z"
    assert b"last_active" not in packed
    again = decode_session(session.id, stored(packed, last_active))
    assert again.to_dict() == session.to_dict() | {"history": []}


@pytest.mark.parametrize("moment", [None, 5, "x" * 41, 'a"b', "", {"at": 1}])
def test_a_moment_that_is_none(moment: Any) -> None:
    """A last_active that is no plain moment stays in the head and comes back."""
    session = UniversalSession(backend="custom")
    session.metadata["last_active"] = moment
    packed, last_active = encode_head(session, PLAIN)
    assert last_active is None
    assert decode_session(session.id, stored(packed)).metadata["last_active"] == moment


DAMAGED = [
    (b"{", "is not a session document"),
    (b'{"metadata":{}}', "backend: is missing"),
    (b'{"metadata":{},"backend":"x","context":[]}', "context: is list"),
    (b'{"metadata":{},"backend":"x","id":"other"}', "says that it is session 'other'"),
    (b"[]", "is not a session document"),
    (b'{"metadata":{},"backend":"x","context":' + b"[" * 600 + b"]" * 600 + b"}", "context: is list"),
    (b'{"metadata":{},"backend":"x","deep":' + b"[" * 600 + b"]" * 600 + b"}", "nested more than"),
]


@pytest.mark.parametrize(("data", "problem"), DAMAGED, ids=lambda item: str(item)[:50])
def test_damaged_heads(data: bytes, problem: str) -> None:
    """A head that is no session's is damaged, in words; it is never taken for another session."""
    with pytest.raises(Damaged, match=problem):
        decode_session("s", stored(data, "2025-11-18T10:05:00Z" if data == b"[]" else None))


def test_newer_heads() -> None:
    """A head of a newer schema is newer, not damaged."""
    with pytest.raises(Newer, match="has schema 2"):
        decode_session("s", stored(head(schema=2)))


def test_a_document_without_an_id() -> None:
    """A document that does not say its id is the session that its key names."""
    assert decode_session("s", stored(head())).id == "s"


def test_summary() -> None:
    """A summary is made of the head alone, and is called as the metadata or else the topic say."""
    session = UniversalSession.from_json(PUBLISHED)
    packed, last_active = encode_head(session, PLAIN)
    summary = summarize(Listed(session.id, packed, last_active, 17), PLAIN)
    assert (summary.id, summary.backend, summary.status) == ("session_abc123", "flowise", "active")
    assert (summary.title, summary.turns) == ("structural tension", 17)
    assert summary.current_flow_id == "csv2507"
    assert (summary.created_at, summary.last_active) == ("2025-11-18T10:00:00Z", "2025-11-18T10:05:00Z")
    session.metadata["title"] = "a title"
    assert summarize(Listed(session.id, *encode_head(session, PLAIN), 0), PLAIN).title == "a title"


def test_summary_of_odd_heads() -> None:
    """Titles and times that are no text are left out of a summary."""
    odd = head(metadata={"title": 5, "created_at": 7}, context={"topic": []})
    summary = summarize(Listed("s", odd, None, 0), PLAIN)
    assert (summary.title, summary.created_at, summary.last_active) == (None, None, None)


def test_executions() -> None:
    """An execution is stored under its id, and as an entry in the history of its flow if it has one."""
    execution = Execution(id="e", session_id="s", flow_id="f", output={"tokens": [1]})
    document, entry = encode_execution(execution, PLAIN, ttl=5, history_ttl=7)
    assert (document.kind, document.id, document.ttl) == ("execution", "e", 5)
    assert (entry.kind, entry.session_id, entry.flow_id, entry.ttl) == ("history", "s", "f", 7)
    assert decode_execution(document.data, PLAIN) == execution
    assert len(encode_execution(Execution(id="e", session_id="s"), PLAIN, ttl=0, history_ttl=0)) == 1


@pytest.mark.parametrize("data", [b"", b"[]", b'"text"', b"{}", b'{"id":5}', b"\xff"])
def test_damaged_executions(data: bytes) -> None:
    """What is stored under an execution's name and is none is damaged."""
    with pytest.raises(Damaged, match="the execution is damaged"):
        decode_execution(data, PLAIN)


@pytest.mark.parametrize("field", ["id", "session_id", "flow_id"])
def test_names_that_are_none(field: str) -> None:
    """An id that no store could use as a name is refused by the field's name."""
    execution = Execution(**{field: "half \ud800"})  # type: ignore[arg-type]  # a text, whichever field it is
    with pytest.raises(Unstorable, match=f"execution.{field}: half a surrogate pair"):
        encode_execution(execution, PLAIN, ttl=0, history_ttl=0)
