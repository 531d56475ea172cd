"""What a flow server answers, read while it arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import FlowFailed
from .events import Event, EventReader
from .http_pool import CUT, Response
from .http_problems import LARGEST_REPLY, Call, Problems
from .list_head import ListHead
from .server_key import ServerKey

_REDIRECTS = (301, 302, 303, 307, 308)


class Reply:
    """A server's answer to a call, whose body may still be on its way. The server's key stands nowhere in it.

    Attributes:
        status: its HTTP status.
        kind: its media type, without parameters.
    """

    def __init__(self, response: Response, call: Call, problems: Problems, key: ServerKey) -> None:
        self.status = response.status
        self.kind = response.header("content-type").partition(";")[0].strip().lower()
        self._response = response
        self._call = call
        self._problems = problems
        self._key = key

    async def json(self) -> Any:
        """The body, decoded.

        Raises:
            FlowFailed, FlowUnsettled: it did not arrive, is too large, or is no JSON.
        """
        return self._decoded(await self._body())

    async def first(self, count: int | None) -> Any:
        """The body, decoded. Of a long list its first elements only: so many, or as many as a long reply may hold.

        Raises:
            FlowFailed, FlowUnsettled: as `json`.
        """
        head = ListHead(count, LARGEST_REPLY // 2)
        await self._read(head.feed, whole=False)
        return self._decoded(head.closed())

    def _decoded(self, body: bytes) -> Any:
        try:
            return self._key.decoded(body)
        except ValueError as error:
            raise self._problems.not_json(self._call, self.kind, body) from error

    async def events(self, take: Callable[[Event], None]) -> None:
        """Hand each event of a stream on as it arrives. The one called ``end`` has to be among them.

        Raises:
            FlowFailed, FlowUnsettled: they did not all arrive, or are too large together.
        """
        ended = False

        def noting_the_end(event: Event) -> None:
            nonlocal ended
            ended = ended or event.get("event") == "end"
            take(event)

        reader = EventReader(noting_the_end, self._key.decoded)
        try:
            await self._read(reader.feed)
            reader.flush()
        except ValueError as error:
            raise self._problems.cut(self._call, "an event is damaged") from error
        if not ended:
            raise self._problems.cut(self._call, "the stream stopped in the middle")

    async def error(self) -> FlowFailed:
        """What an answer means that is none."""
        location = self._response.header("location")
        if location and self.status in _REDIRECTS:
            return self._problems.redirected(self._call, self.status, location)
        return self._problems.refused(self._call, self.status, self.kind, await self._body())

    async def _body(self) -> bytes:
        pieces: list[bytes] = []
        await self._read(pieces.append)
        return b"".join(pieces)

    async def _read(self, take: Callable[[bytes], object], *, whole: bool = True) -> None:
        """Hand the body on as it arrives, until its end or until ``take`` says that it is enough.

        One that is needed ``whole`` and says that it is too large is not read at all.
        """
        if whole and _announced(self._response) > LARGEST_REPLY:
            raise self._problems.too_large(self._call)
        size = 0
        try:
            async for piece in self._response.pieces():
                size += len(piece)
                if size > LARGEST_REPLY:
                    raise self._problems.too_large(self._call)
                if take(piece) is True:
                    return
        except CUT as error:
            raise self._problems.cut(self._call, error) from error


def _announced(response: Response) -> int:
    """How many bytes a response says that its body has; 0 where it does not say."""
    length = response.header("content-length")
    return int(length) if length.isdecimal() and length.isascii() else 0
