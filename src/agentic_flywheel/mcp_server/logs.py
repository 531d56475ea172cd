"""Logs of the server: to stderr, and without a word of any conversation."""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class DiscreetFormatter(logging.Formatter):
    """Shows where an exception came from and its type, not its message: that may quote what was said."""

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802  # the name is the standard library's
        """The places that an exception came through, and its type."""
        kind, _, trace = ei
        places = "".join(traceback.format_tb(trace)).rstrip()
        return f"{places}\n{kind.__name__ if kind else 'no exception'}"


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Send the logs of this process to stderr; before the SDK does, whose own handler prints all values."""
    handler = logging.StreamHandler()  # stderr: stdout carries the protocol
    handler.setFormatter(DiscreetFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
