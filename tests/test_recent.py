"""What is remembered of what was used last."""

from __future__ import annotations

from agentic_flywheel.recent import REMEMBERED, Recent


def test_only_what_was_used_last_is_remembered() -> None:
    recent: Recent[int] = Recent()
    for number in range(REMEMBERED + 1):
        recent.put(str(number), number)
    assert recent.get("0") is None
    assert recent.get(str(REMEMBERED)) == REMEMBERED


def test_what_is_used_stays() -> None:
    recent: Recent[int] = Recent(limit=2)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.used("a")
    recent.put("c", 3)
    assert recent.names() == ["a", "c"]
    recent.drop("a")
    recent.drop("a")
    assert recent.names() == ["c"]
