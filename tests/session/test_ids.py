"""Ids are unguessable, and what cannot name a session is refused before it reaches a store."""

from __future__ import annotations

import pytest

from agentic_flywheel import UniversalSession
from agentic_flywheel.errors import BadSessionId
from agentic_flywheel.session import check_session_id, new_id
from agentic_flywheel.session.ids import RANDOM_BYTES

GOOD = ["a", "x" * 256, "session:1", "*?[]", "../../etc", "with space", "é", "会話", "🙂", "a/b~c%2F", "'; --"]
BAD = [
    ("", "a session id is empty; create a session to get one"),
    ("x" * 257, "a session id has 257 characters; the limit is 256"),
    ("x" * 10_000, "a session id has 10,000 characters; the limit is 256"),
    ("a\nb", r"control character U\+000A at position 1"),
    ("\0", r"control character U\+0000 at position 0"),
    ("ab\x7f", r"control character U\+007F at position 2"),
    ("\x85", r"control character U\+0085 at position 0"),
    ("\ud800", r"control character U\+D800 at position 0"),
    (None, "a session id is text, not NoneType"),
    (5, "a session id is text, not int"),
    (b"bytes", "a session id is text, not bytes"),
]


def test_new_ids_are_opaque() -> None:
    """A new id says what it is of, and has at least 128 bits of randomness that do not repeat."""
    kind, _, random = new_id("session").partition("_")
    assert kind == "session"
    assert len(bytes.fromhex(random)) == RANDOM_BYTES >= 16
    assert len({new_id("session") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("session_id", GOOD)
def test_good_ids(session_id: str) -> None:
    """Any 1 to 256 characters that are no control characters name a session."""
    assert check_session_id(session_id) == session_id
    assert UniversalSession(backend="custom", id=session_id).id == session_id


@pytest.mark.parametrize(("session_id", "problem"), BAD, ids=lambda item: repr(item)[:20])
def test_bad_ids(session_id: object, problem: str) -> None:
    """A bad id is a ValueError that says what is wrong, in a check as well as in a new session."""
    with pytest.raises(BadSessionId, match=problem) as caught:
        check_session_id(session_id)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(BadSessionId, match=problem):
        UniversalSession(backend="custom", id=session_id)  # type: ignore[arg-type]  # that is the point
