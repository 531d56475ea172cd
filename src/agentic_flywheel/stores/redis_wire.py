"""What is sent on an open connection to Redis, and what comes back: bytes out, answers in.

The client library opens a connection (addresses, TLS, logging in, asking sentinels) and closes it. In between, its
own way to send and to read costs a caller more than the socket does. So its transport gets another protocol here,
and `hiredis`, which parses for the library too, parses for us.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hiredis import PushNotification, Reader
from redis import exceptions as redis_errors

from .redis_client import Connection, errors_of, transport_of

_MORE = object()  # what the reader gives where an answer is not whole yet


class Wire(asyncio.Protocol):
    """Sends and receives on a connection that is open, until it is lost; made for each anew.

    One question at a time. Answers that nobody asked for, and what is none, end the connection: after them it could
    not be told any more which question an answer belongs to.
    """

    def __init__(self, connection: Connection) -> None:
        self._transport = transport_of(connection)
        self._before = self._transport.get_protocol()
        self._reader = Reader(redis_errors.InvalidResponse, errors_of(connection), notEnoughData=_MORE)
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._answers: list[Any] = []
        self._asked: asyncio.Future[list[Any]] | None = None
        self.is_open = not self._transport.is_closing()
        self._transport.set_protocol(self)

    def ask(self, commands: bytes, count: int) -> asyncio.Future[list[Any]]:
        """The answers to so many packed commands, in order; one that failed is answered by its exception.

        Whoever gives them up has to close the connection: they will come all the same.
        """
        self._count, self._answers = count, []
        self._asked = asked = self._loop.create_future()
        if self.is_open:
            self._transport.write(commands)
        else:
            self._break_off(redis_errors.ConnectionError("the connection was lost"))
        return asked

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, and answer when all is there."""
        answers, reader = self._answers, self._reader
        try:
            reader.feed(data)
            while (answer := reader.gets()) is not _MORE:
                if not isinstance(answer, PushNotification):
                    answers.append(answer)
        except redis_errors.RedisError as error:
            self._break_off(error)
            return
        if len(answers) == self._count:
            self._answer()
        elif len(answers) > self._count:
            self._break_off(redis_errors.InvalidResponse("there are more answers than questions"))

    def _answer(self) -> None:
        asked, self._asked = self._asked, None
        answers, self._count, self._answers = self._answers, 0, []
        if asked is not None and not asked.done():
            asked.set_result(answers)

    def abort(self) -> None:
        """End it at once: what was not sent yet is not sent. The library would wait until somebody takes it."""
        self._transport.abort()

    def _break_off(self, error: Exception) -> None:
        self.abort()
        self.is_open = False
        asked, self._asked = self._asked, None
        if asked is not None and not asked.done():
            asked.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits for an answer, and the library, which waits for the end when it closes."""
        reason = f"the connection was lost ({error})" if error else "Redis closed the connection"
        self._break_off(redis_errors.ConnectionError(reason))
        self._before.connection_lost(error)

    def pause_writing(self) -> None:
        """Nothing: who writes waits for the answer anyway."""

    def resume_writing(self) -> None:
        """Nothing either."""
