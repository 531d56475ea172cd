"""Functions that settings can name as flows, and things that are none."""

from __future__ import annotations

import asyncio
from typing import Any

from agentic_flywheel import UniversalSession

NOT_A_FUNCTION = 5


def echo(question: str) -> str:
    return f"echo: {question}"


async def echo_later(question: str) -> str:
    await asyncio.sleep(0)
    return f"later: {question}"


def count(question: str, session: UniversalSession) -> str:
    return f"{question} after {len(session.history)} turns"


async def note(question: str, session: UniversalSession) -> dict[str, Any]:
    """Changes the context, and gives a full output beside the text."""
    session.context["noted"] = question
    return {"text": f"noted: {question}", "tokens": 7}


def fail(question: str) -> str:
    raise RuntimeError(f"no answer to {question}")


async def wait(question: str) -> str:
    await asyncio.Event().wait()
    return question


class AsyncObject:
    """Called like a function; what it gives has to be awaited."""

    async def __call__(self, question: str) -> str:
        return f"object: {question}"
