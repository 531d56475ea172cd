"""A long list is read only as far as it is needed, wherever its pieces are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentic_flywheel.backends import list_head
from agentic_flywheel.backends.list_head import ListHead

ELEMENTS: list[Any] = [{"a": [1, {"b": "]}"}]}, {"c": 'x"\\'}, {"d": "[{"}, {"e": {}}, {"f": "é\\"}]
BODY = json.dumps(ELEMENTS).encode()


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_head, "LONG", 0)


def read(head: ListHead, body: bytes, size: int) -> Any:
    """What is read of a body that comes in pieces of this size."""
    for start in range(0, len(body), size):
        if head.feed(body[start : start + size]):
            break
    return json.loads(head.closed())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, None])
def test_so_many(size: int, count: int | None) -> None:
    """There may be a few more, as the last piece has them."""
    found = read(ListHead(count, 10_000), BODY, size)
    assert found == ELEMENTS[: len(found)]
    assert len(found) >= min(count or 5, 5)
    if size == 1 and count:
        assert len(found) == min(count, 5)


def test_as_many_as_a_long_reply_may_hold() -> None:
    """At least two, however long they are."""
    assert read(ListHead(None, 30), BODY, 1) == ELEMENTS[:2]
    assert read(ListHead(None, 1), BODY, 1) == ELEMENTS[:2]


def test_what_is_short_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_head, "LONG", 10_000)
    assert read(ListHead(1, 10), BODY, 1) == ELEMENTS


@pytest.mark.parametrize("body", [b"{}", b"[]", b"no json", b'"text"', b"[1, 2"])
def test_what_is_no_list_of_objects(body: bytes) -> None:
    """It is handed on as it is."""
    head = ListHead(1, 10)
    assert not head.feed(body)
    assert head.closed() == body
