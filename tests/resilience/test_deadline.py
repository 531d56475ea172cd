"""One budget over everything that an operation does."""

from __future__ import annotations

import asyncio

from agentic_flywheel.stores.deadline import Deadline, current, within


def test_without_an_operation_there_is_none() -> None:
    """Outside of an operation there is no deadline, nor after one."""
    assert current() is None
    with within(1) as deadline:
        assert current() is deadline
    assert current() is None


def test_the_outer_one_holds() -> None:
    """A step cannot grant itself more than the operation that it is part of, nor end it."""
    with within(10) as outer:
        with within(1000) as inner:
            assert inner is outer
        assert current() is outer
        assert outer.remaining() <= 10


def test_nothing_is_left_after_its_end() -> None:
    """When the time is up nothing is left, and never less than nothing."""
    assert Deadline(-5).remaining() == 0


async def test_tasks_have_the_deadline_of_the_operation() -> None:
    """What an operation does in tasks is part of it; what others do beside it is not."""

    async def look() -> Deadline | None:
        return current()

    with within(10) as deadline:
        assert await asyncio.create_task(look()) is deadline
    assert await asyncio.create_task(look()) is None
