"""Telling a client how its call goes: which flow was asked, what it has said so far, that it still runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from mcp.server.mcpserver import Context

from ..jsontext import sendable

log = logging.getLogger(__name__)

STILL_SECONDS = 5.0
PAUSE_SECONDS = 0.2  # what is said in between goes into one notification
LAST_SECONDS = 1.0  # for the last one: a client that does not read is not waited for

Report = Callable[[float, float | None, str], Awaitable[None]]


class Progress:
    """Notifications about one call; their ``progress`` counts the seconds since it came.

    ``report`` sends one: progress, total (there is none), message.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._begun = time.monotonic()
        self._asked: str | None = None
        self._pieces: list[str] = []
        self._news = asyncio.Event()
        self._broken = False

    def asked(self, flow_id: str) -> None:
        """Tell which flow was asked."""
        self._asked = flow_id
        self._news.set()

    def said(self, piece: str) -> None:
        """Tell a piece of the answer, together with those that come at about the same time."""
        self._pieces.append(piece)
        self._news.set()

    async def tell(self) -> None:
        """Tell what there is to tell until this is cancelled, or cannot be told."""
        while not self._broken:
            with suppress(TimeoutError):
                async with asyncio.timeout(STILL_SECONDS):
                    await self._news.wait()
            await self._send(self._next() or f"still running, {time.monotonic() - self._begun:.0f} s")
            await asyncio.sleep(PAUSE_SECONDS)

    async def tell_the_rest(self) -> None:
        """Tell what has not been told yet, for the last time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                while not self._broken and (message := self._next()):
                    await self._send(message)

    def _next(self) -> str:
        if self._asked is not None:
            message, self._asked = f"asked flow {self._asked}", None
        else:
            message, self._pieces = "".join(self._pieces), []
        if not self._pieces:
            self._news.clear()
        return message

    async def _send(self, message: str) -> None:
        try:
            await self._report(time.monotonic() - self._begun, None, sendable(message))
        except Exception as error:  # a client that cannot be told anything is no reason to give up its run
            log.warning("a client is not told of its call's progress: %s", type(error).__name__)
            self._broken = True


@asynccontextmanager
async def progress_of(context: Context[Any, Any]) -> AsyncIterator[Progress | None]:
    """The progress of the call under way; None where the client did not ask for it (by a ``progressToken``)."""
    if "progress_token" not in (context.request_context.meta or {}):
        yield None
        return
    progress = Progress(context.report_progress)
    telling = asyncio.create_task(progress.tell())
    try:
        yield progress
    finally:
        telling.cancel()
        await asyncio.wait((telling,))
    await progress.tell_the_rest()
