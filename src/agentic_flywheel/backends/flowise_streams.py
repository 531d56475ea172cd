"""Answers that Flowise gives piece by piece: which flows can, and those of which nothing is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import FlowFailed
from .http_problems import Call
from .http_reply import Reply
from .http_server import FlowServer

SILENT_SECONDS = 3.0
"""How long a stream may take to begin until somebody looks why. Flowise begins one before it runs the flow."""


class Streams:
    """The streams of one flow.

    Flowise never answers if it is asked to stream by a flow that is not there, or by one that cannot stream and
    fails. What goes wrong in a stream that was begun, a refused key for example, is told in it.

    Args:
        server: where the flow is.
        asks: asks whether the flow can stream.
        reads: asks for the flow itself.
    """

    def __init__(self, server: FlowServer, asks: Call, reads: Call) -> None:
        self._server = server
        self._asks = asks
        self._reads = reads
        self._known: tuple[object, bool] = (None, False)

    async def are_possible(self) -> bool:
        """Whether the flow can stream; asked once, and again where that may have changed."""
        if self._known[0] is not self._server.period:
            try:
                answer = await self._server.fetch(self._asks)
            except FlowFailed:
                return False
            can = isinstance(answer, dict) and answer.get("isStreaming") is True
            self._known = (self._server.last_period, can)
        return self._known[1]

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Reply]:
        """The answer to a question that is to be streamed.

        Raises:
            FlowFailed: as `FlowServer.open`; or the flow is not there any more.
        """
        gone = asyncio.timeout(None)
        try:
            async with gone:
                watch = asyncio.create_task(self._watch(gone))
                try:
                    async with self._server.open(call) as reply:
                        watch.cancel()
                        yield reply
                finally:
                    watch.cancel()
        except BaseException as error:  # a time-out of the caller's, too
            self._known = (None, False)
            if isinstance(error, TimeoutError) and gone.expired():
                raise self._server.problems.refused(call, 404, "", b"") from error
            raise

    async def _watch(self, gone: asyncio.Timeout) -> None:
        """End a question of which nothing is heard, if its flow is not there."""
        await asyncio.sleep(SILENT_SECONDS)
        try:
            found = await self._server.fetch(self._reads, missing=True)
        except FlowFailed:  # that tells nothing of the flow
            return
        if found is None:
            gone.reschedule(asyncio.get_running_loop().time())
