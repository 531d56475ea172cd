"""One run of a flow, and how it went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..backends import Answer, Flow, Question
from ..errors import FlowError, FlowFailed
from ..manager import SessionManager
from ..session import Execution, UniversalSession

T = TypeVar("T")


async def run(flow: Flow, session: UniversalSession, execution: Execution, sessions: SessionManager) -> Answer:
    """The answer of a flow; the execution notes how it went, and a failure is stored at once.

    Raises:
        FlowFailed: there is no answer; the message names the flow.
    """
    start = time.perf_counter()
    try:
        async with asyncio.timeout(flow.timeout) as watch:
            answer = await flow.ask(Question(execution.question, session, execution.parameters))
    except asyncio.CancelledError:
        await _put_failure(sessions, execution, "cancelled", "the caller cancelled it", start)
        raise
    except Exception as error:
        status, message = _problem(flow, error, timed_out=watch.expired())
        await _put_failure(sessions, execution, status, message, start)
        raise FlowFailed(message) from error
    execution.status, execution.output, execution.text = "completed", answer.output, answer.text
    execution.duration_ms = _milliseconds_since(start)
    return answer


def _problem(flow: Flow, error: Exception, *, timed_out: bool) -> tuple[str, str]:
    """How a run ended that gave no answer, and what to say about it."""
    if timed_out:
        return (
            "unknown",
            f"flow {flow.id!r} did not answer within {flow.timeout:g} s; raise flows.{flow.id}.timeout",
        )
    if isinstance(error, FlowError):
        return "failed", str(error)
    return "failed", f"flow {flow.id!r} raised {error!r}"


async def _put_failure(
    sessions: SessionManager, execution: Execution, status: str, error: str, start: float
) -> None:
    execution.status, execution.error = status, error
    execution.duration_ms = _milliseconds_since(start)
    await to_the_end(sessions.save_execution(execution))


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. A caller who is cancelled goes when it is done: what a flow did is to be on record."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def _milliseconds_since(start: float) -> int:
    return round((time.perf_counter() - start) * 1000)
