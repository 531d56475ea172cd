"""What is exact to a second is done once a second, and always where something else is wanted."""

from __future__ import annotations

from agentic_flywheel.stores.redis_lifetimes import Lifetimes
from tests.stores.worlds import Clock

WEEK = 7 * 24 * 3600


def test_a_time_to_live_begins_once_a_second() -> None:
    clock = Clock()
    lifetimes = Lifetimes(clock)
    assert lifetimes.is_due("s", WEEK)
    lifetimes.began("s", WEEK)
    assert not lifetimes.is_due("s", WEEK)
    assert not lifetimes.is_due("s")
    assert lifetimes.is_due("other")
    clock.now += 1
    assert lifetimes.is_due("s", WEEK)
    assert lifetimes.is_due("s")


def test_another_one_begins_at_once() -> None:
    lifetimes = Lifetimes(Clock())
    lifetimes.began("s", WEEK)
    assert lifetimes.is_due("s", 2 * WEEK)
    assert lifetimes.is_due("s", 0)
    lifetimes.began("s", 0)
    assert not lifetimes.is_due("s", 0)


def test_of_a_short_one_no_second_is_lost() -> None:
    lifetimes = Lifetimes(Clock())
    lifetimes.began("s", 5)
    assert lifetimes.is_due("s", 5)
    assert lifetimes.is_due("s")


def test_what_is_gone_is_not_known() -> None:
    lifetimes = Lifetimes(Clock())
    lifetimes.began("s", WEEK)
    lifetimes.forget("s")
    assert lifetimes.is_due("s", WEEK)
