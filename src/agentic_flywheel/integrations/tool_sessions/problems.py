"""Our errors as a client reads them: what happened, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import (
    BadSessionId,
    Damaged,
    FlywheelError,
    Misconfigured,
    Newer,
    Sealed,
    SessionNotFound,
    StoreError,
)

_LOOK = "Whoever runs this server can see more with 'flywheel doctor'."


@dataclass(frozen=True, slots=True)
class Advice:
    """Says what to do next, with the names that the tools have on this server."""

    create: str
    listing: str

    def on(self, error: FlywheelError) -> str:
        """The error's message, and what a model can do about it."""
        message = str(error).rstrip(". ")
        return f"{message}. {self._next_step(error)}".rstrip()

    def _next_step(self, error: FlywheelError) -> str:
        if isinstance(error, SessionNotFound):
            return f"Call {self.create} to begin a new one, or {self.listing} to see those that there are."
        if isinstance(error, BadSessionId):
            return f"Pass a session_id exactly as {self.create} or {self.listing} gave it."
        if isinstance(error, Damaged | Newer | Sealed):
            return f"It was left as it is. Call {self.create} to begin a new one. {_LOOK}"
        if isinstance(error, Misconfigured):
            return _LOOK
        return "Try again in a moment." if isinstance(error, StoreError) else ""


def unknown(session_id: str) -> SessionNotFound:
    """What there is to say of a handle that is nobody's, has expired, or is somebody else's: the same."""
    return SessionNotFound(f"no session {session_id!r}: it has expired or never was")
