"""Flows that are Python functions (backend ``custom``)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..errors import ConfigError, FlowFailed
from ..jsontext import encode
from ..session.values import plain
from .base import Answer, Flow, Question


class PythonFlow(Flow):
    """A function ``answer(question)`` or ``answer(question, session)``, sync or async.

    It returns the text of the answer, or any JSON value as the full output, whose ``text``, if it has one,
    is the text. A sync function runs in a thread, so it does not hold up others.
    """

    backend = "custom"

    def __init__(self, id: str, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(id, **options)
        self._function = function
        self._takes_session = _takes_session(function)

    async def ask(self, question: Question) -> Answer:
        arguments = (question.text, question.session) if self._takes_session else (question.text,)
        if inspect.iscoroutinefunction(self._function):
            output = await self._function(*arguments)
        else:
            output = await asyncio.to_thread(self._function, *arguments)
            if inspect.isawaitable(output):  # an object whose __call__ is async, a lambda around a coroutine
                output = await output
        return self._answer(output)

    def _answer(self, output: Any) -> Answer:
        if isinstance(output, str):
            return Answer(output, output)
        try:
            value = plain(output, "output")
        except ValueError as error:
            raise FlowFailed(f"flow {self.id!r} returned what JSON cannot hold: {error}") from error
        text = value.get("text") if isinstance(value, dict) else None
        return Answer(text if isinstance(text, str) else encode(value).decode(), value)


def _takes_session(function: Callable[..., Any]) -> bool:
    """Whether there is a second argument that has to be given, or that is called ``session``."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    takes = [each for each in inspect.signature(function).parameters.values() if each.kind in positional]
    return any(each.default is each.empty or each.name == "session" for each in takes[1:2])


def load_function(target: str, flow_id: str) -> Callable[..., Any]:
    """The function that ``module:function`` names.

    Raises:
        ConfigError: there is none; says what is missing.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise ConfigError(f"flows.{flow_id}.target is {target!r}; it has the form 'module:function'")
    try:
        function = getattr(import_module(module_name), name, None)
    except Exception as error:  # a module may fail in any way while it is imported
        raise ConfigError(f"flows.{flow_id}.target: {module_name!r} cannot be imported: {error!r}") from error
    if not callable(function):
        raise ConfigError(f"flows.{flow_id}.target: {module_name!r} has no function {name!r}")
    try:
        inspect.signature(function)
    except ValueError as error:
        raise ConfigError(
            f"flows.{flow_id}.target: {target!r} tells no parameters; wrap it in a function"
        ) from error
    return function  # type: ignore[no-any-return]  # callable() does not tell the type
