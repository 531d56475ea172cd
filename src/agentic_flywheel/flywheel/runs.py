"""One run of a flow, and how it went."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ..backends import Answer, Flow, Question
from ..errors import FlowError, FlowFailed, FlowUnsettled
from ..session import Execution
from ..tracing import span

log = logging.getLogger(__name__)

T = TypeVar("T")


async def run(flow: Flow, question: Question, execution: Execution) -> Answer:
    """The answer of a flow; the execution notes how it went.

    Raises:
        FlowFailed: there is no answer; the message names the flow.
        FlowUnsettled: there is none as far as we know.
    """
    start = time.perf_counter()
    try:
        async with asyncio.timeout(flow.timeout) as watch:
            with span("flow", flow_id=flow.id, backend=flow.backend):
                answer = await flow.ask(question)
    except asyncio.CancelledError:
        execution.status, execution.error = "cancelled", "the caller cancelled it"
        raise
    except Exception as error:
        failure = _failure(flow, error, timed_out=watch.expired())
        execution.status = "unknown" if isinstance(failure, FlowUnsettled) else "failed"
        execution.error = str(failure)
        execution.output = error.output if isinstance(error, FlowFailed) else None
        raise failure from error
    finally:
        execution.duration_ms = round((time.perf_counter() - start) * 1000)
    execution.status, execution.output, execution.text = "completed", answer.output, answer.text
    return answer


def _failure(flow: Flow, error: Exception, *, timed_out: bool) -> FlowFailed:
    """What to raise for a run that gave no answer."""
    if timed_out:
        return FlowUnsettled(
            f"flow {flow.id!r} did not answer within {flow.timeout:g} s; raise flows.{flow.id}.timeout"
        )
    if isinstance(error, FlowUnsettled):
        return FlowUnsettled(str(error))
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


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. A caller who is cancelled goes when it is done: what a flow did is to be on record."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # anyio cancels again at every await
                await asyncio.wait((task,))
        raise
