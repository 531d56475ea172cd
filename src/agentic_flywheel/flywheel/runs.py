"""One run of a flow, and how it went."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ..backends import Answer, Flow, Question
from ..errors import FlowError, FlowFailed, FlowUnsettled, KeyRefused
from ..session import Execution
from ..tracing import span

log = logging.getLogger(__name__)

T = TypeVar("T")


async def remind(flow: Flow, question: Question, execution: Execution) -> Question:
    """Have a flow's server told what it lacks, before the flow is asked; the question as it is to be asked then.

    Raises:
        FlowFailed: it did not take that; the flow was not asked, and the execution notes it.
    """
    if question.replay is None:
        return question
    late = FlowFailed(
        f"flow {flow.id!r} was not asked: its server did not take what was said earlier within {flow.timeout:g} s; "
        "ask again"
    )
    return await _noting(execution, flow, flow.remind(question), late)


async def run(flow: Flow, question: Question, execution: Execution) -> Answer:
    """The answer of a flow; the execution notes how it went.

    Raises:
        FlowFailed: there is no answer; the message names the flow.
        FlowUnsettled: there is none as far as we know.
    """
    late = f"flow {flow.id!r} did not answer within {flow.timeout:g} s; raise flows.{flow.id}.timeout"
    answer = await _noting(execution, flow, _ask(flow, question), FlowUnsettled(late))
    execution.status, execution.output, execution.text = "completed", answer.output, answer.text
    return answer


async def _ask(flow: Flow, question: Question) -> Answer:
    with span("flow", flow_id=flow.id, backend=flow.backend):
        return await flow.ask(question)


async def _noting(execution: Execution, flow: Flow, work: Awaitable[T], late: FlowFailed) -> T:
    """What a flow does in its time; the execution notes how long that took, and what went wrong.

    Raises:
        FlowFailed: it failed, or ``late``: it was not done in its time.
    """
    start = time.perf_counter()
    try:
        async with asyncio.timeout(flow.timeout) as watch:
            return await work
    except asyncio.CancelledError:
        execution.status, execution.error = "cancelled", "the caller cancelled it"
        raise
    except Exception as error:
        failure = late if watch.expired() else _failure(flow, error)
        execution.status = "unknown" if isinstance(failure, FlowUnsettled) else "failed"
        execution.error = str(failure)
        execution.output = error.output if isinstance(error, FlowFailed) else None
        raise failure from error
    finally:
        execution.duration_ms = round((time.perf_counter() - start) * 1000)


def _failure(flow: Flow, error: Exception) -> FlowFailed:
    """What to raise for a run that gave no answer."""
    for kind in (FlowUnsettled, KeyRefused):
        if isinstance(error, kind):
            return kind(str(error))
    return FlowFailed(str(error) if isinstance(error, FlowError) else f"flow {flow.id!r} raised {error!r}")


class Listener:
    """Passes pieces of an answer on. One that cannot take them is not told any more, and costs no answer."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text: Callable[[str], None] | None = on_text

    def tell(self, piece: str) -> None:
        """Pass a piece on."""
        if self._on_text is None:
            return
        try:
            self._on_text(piece)
        except Exception as error:  # it is the caller's
            log.warning("on_text raised %s, and is not called any more for this answer", type(error).__name__)
            self._on_text = None


async def to_the_end(begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What work gives that is done also where its caller is cancelled: what a flow did is to be on record.

    Then it is begun anew, out of reach of that, and the caller goes when it is done. So it is work that may be done
    twice. To do all of it out of reach would cost each turn a task.
    """
    try:
        return await begin()
    except asyncio.CancelledError:
        task = asyncio.create_task(begin())
        while not task.done():
            with suppress(asyncio.CancelledError):  # anyio cancels again at every await
                await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # nobody is there any more to hear of it
        raise
