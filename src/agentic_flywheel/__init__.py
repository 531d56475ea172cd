"""Durable sessions for MCP servers and agent chatflows: conversations that go on where they were.

The names below are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import FlywheelError
    from .flywheel import Flywheel
    from .manager import Health, Loaded, Saved, SessionManager
    from .session import Execution, History, Turn, UniversalSession

__version__ = "0.1.0"

_PLACES = {
    "Execution": "session",
    "Flywheel": "flywheel",
    "FlywheelError": "errors",
    "Health": "manager",
    "History": "session",
    "Loaded": "manager",
    "Saved": "manager",
    "SessionManager": "manager",
    "Turn": "session",
    "UniversalSession": "session",
}

__all__ = [
    "Execution",
    "Flywheel",
    "FlywheelError",
    "Health",
    "History",
    "Loaded",
    "Saved",
    "SessionManager",
    "Turn",
    "UniversalSession",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
