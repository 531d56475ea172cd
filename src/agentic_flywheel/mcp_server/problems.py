"""Our errors as a client reads them: what happened, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS

from ..errors import (
    BadInput,
    BadSessionId,
    Damaged,
    FlowFailed,
    FlowUnsettled,
    FlywheelError,
    Misconfigured,
    Newer,
    Sealed,
    SessionNotFound,
    StoreError,
    UnknownFlow,
)
from ..manager import Saved

_ADVICE: list[tuple[type[FlywheelError], str]] = [
    (
        SessionNotFound,
        "Call list_sessions to see the sessions that there are, or create_session to begin a new one.",
    ),
    (
        BadSessionId,
        "Pass a session_id exactly as create_session, run_flow or list_sessions gave it.",
    ),
    (UnknownFlow, "Call list_flows to see the flows that there are."),
    (
        FlowUnsettled,
        "It is on record as unknown, and the session can be used as before. If its server still answers, the next "
        "run_flow or resume_session of the session records that: look there before you ask the same again.",
    ),
    (FlowFailed, "The failed run is on record, and the session can be used as before."),
    (
        Damaged,
        "It was left as it is; whoever runs this server can look at it with 'flywheel sessions show --raw'. "
        "Call create_session to begin a new one.",
    ),
    (Newer, "It was left as it is. Call create_session to begin a new one."),
    (Sealed, "It was left as it is. Call create_session to begin a new one."),
    (Misconfigured, "Whoever runs this server can see more with 'flywheel doctor'."),
    (StoreError, "Try again in a moment; if it stays so, 'flywheel doctor' says more."),
]


def advise(error: FlywheelError) -> str:
    """The error's message, and what a model can do about it."""
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), "")
    message = str(error).rstrip(". ")
    return f"{message}. {advice}".rstrip()


@contextmanager
def as_tool_errors() -> Iterator[None]:
    """Turn our errors into the SDK's ``ToolError``, the only one whose text reaches the client."""
    try:
        yield
    except FlywheelError as error:
        raise ToolError(advise(error)) from error


@contextmanager
def as_resource_errors() -> Iterator[None]:
    """Turn our errors into the SDK's ``ResourceError``."""
    try:
        yield
    except (SessionNotFound, BadSessionId) as error:
        raise ResourceNotFoundError(advise(error)) from error
    except FlywheelError as error:
        raise ResourceError(advise(error)) from error


@contextmanager
def as_protocol_errors() -> Iterator[None]:
    """Turn our errors into protocol errors, for prompts: they have no result that could say it."""
    try:
        yield
    except FlywheelError as error:
        wrong_argument = isinstance(error, SessionNotFound | BadInput)
        code = INVALID_PARAMS if wrong_argument else INTERNAL_ERROR
        raise MCPError(code, advise(error)) from error


def insist(saved: Saved) -> Saved:
    """The save, unless it was refused.

    Raises:
        StoreError: it was, and nothing of it is on record; says why.
    """
    if saved.outcome == "refused":
        raise StoreError(f"nothing was saved: {saved.reason}")
    return saved
