"""Spans for OpenTelemetry, where the program that we are part of has set it up; without a word of content.

This is the only module that knows OpenTelemetry, and it does not import it: a program that wants spans has
done so. For every other one a span costs some two microseconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Note = Callable[[str, str], None]
"""Notes an attribute of a span: its name and its value."""

P = ParamSpec("P")
T = TypeVar("T")

_SCOPE = "agentic_flywheel"
ASKED_AGAIN_SECONDS = 0.1


def span(name: str, **attributes: str) -> AbstractContextManager[Note]:
    """A span around the body of a ``with``, which may note further attributes of it.

    An exception is noted by its type only: its message may quote what was said. No attribute may hold the id of a
    session, a question or an answer.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    return _NO_SPAN if trace is None or _unused.still(trace) else _recorded(trace, name, attributes)


def traced(
    name: str, outcome: str
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Have a span around each call of an async function; the field ``outcome`` of its result says how it went."""

    def decorate(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @wraps(function)
        async def inside(*args: P.args, **kwargs: P.kwargs) -> T:
            with span(name) as note:
                result = await function(*args, **kwargs)
                note("outcome", getattr(result, outcome))
                return result

        return inside

    return decorate


class _Unused:
    """Whether nobody has set up a tracer provider; asked now and then, since the library takes long to say so."""

    def __init__(self) -> None:
        self._until = 0.0

    def still(self, trace: Any) -> bool:
        moment = time.monotonic()
        if moment >= self._until and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            self._until = moment + ASKED_AGAIN_SECONDS
        return moment < self._until


_unused = _Unused()


def _ignore(name: str, value: str) -> None:
    """Nobody records spans."""


_NO_SPAN: AbstractContextManager[Note] = nullcontext(_ignore)


@contextmanager
def _recorded(trace: Any, name: str, attributes: dict[str, str]) -> Iterator[Note]:
    tracer = trace.get_tracer(_SCOPE)
    with tracer.start_as_current_span(
        f"flywheel.{name}", record_exception=False, set_status_on_exception=False
    ) as current:

        def note(key: str, value: str) -> None:
            current.set_attribute(f"flywheel.{key}", value)

        for key, value in attributes.items():
            note(key, value)
        try:
            yield note
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise
