"""Events that arrive in pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentic_flywheel.backends.events import Event, EventReader
from agentic_flywheel.jsontext import decode

STREAM = (
    'message:\ndata:{"event":"start","data":"ä"}\n\n'
    ":heartbeat\n\n"
    'id: 0\r\ndata: {"event": "token", "data": {"chunk": "a\\nb"}}\r\n\r\n'
    '{"event": "add_message", "data": {}}\n\n'
    'message\ndata:{"event":"end","data":"[DONE]"}'
).encode()
EVENTS = [
    {"event": "start", "data": "ä"},
    {"event": "token", "data": {"chunk": "a\nb"}},
    {"event": "add_message", "data": {}},
    {"event": "end", "data": "[DONE]"},
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_it_does_not_matter_where_the_pieces_end(cuts: list[int]) -> None:
    """As server-sent events or as bare JSON lines, with either kind of line end, and without one at the end."""
    found: list[Event] = []
    reader = EventReader(found.append, decode)
    places = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(places):
        reader.feed(STREAM[start:end])
    reader.flush()
    assert found == EVENTS


def test_each_is_handed_on_as_soon_as_it_is_there() -> None:
    found: list[Event] = []
    reader = EventReader(found.append, decode)
    reader.feed(b'data: {"event": "token"}\nda')
    assert found == [{"event": "token"}]


def test_half_an_event() -> None:
    """A line that begins like an event has to be one."""
    reader = EventReader(print, decode)
    with pytest.raises(ValueError, match="Unterminated string"):
        reader.feed(b'data: {"event": "tok\n')
