"""One connection on which commands are sent together and answered in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hiredis import pack_command
from redis import exceptions as redis_errors

from .deadline import current
from .redis_client import ANSWER_SECONDS, Connection, is_of_sentinels, open_connection
from .redis_scripts import ALL, Argument
from .redis_wire import Wire

Command = tuple[Argument, ...]

_FOLLOW = ("GET", "GETRANGE", "ZADD")
"""Commands that read, or list, what one before them made."""


class Lane:
    """A connection that opens when it is needed and serves one exchange at a time.

    The client library opens it and closes it; see `redis_wire`.
    """

    def __init__(self, make_connection: Callable[[], Connection]) -> None:
        self._connection = make_connection()
        self._wire: Wire | None = None

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to the commands, in order; one that failed is answered by its exception.

        A script that the server has forgotten is given to it, and its command sent again. So is what reads behind
        it, or lists what it made: that was too early.

        Raises:
            RedisError, OSError, TimeoutError: none was sent, or not all were answered.
        """
        deadline = current()
        if deadline is not None and deadline.is_watched:  # then a second clock would only cost time
            return await self._exchange(commands)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._exchange(commands)

    async def go_on(self, commands: Sequence[Command]) -> list[Any]:
        """The same on the connection on which the last exchange was: nothing is sent again.

        Raises:
            RedisError, OSError, TimeoutError: that connection was lost, or not all were answered.
        """
        if self._wire is None or not self._wire.is_open:
            raise redis_errors.ConnectionError("the connection was lost")
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._ask(_packed(commands), len(commands))

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        answers = await self._send(commands)
        for answer in answers:
            if isinstance(answer, redis_errors.NoScriptError):
                return await self._again(commands, answers)
        return answers

    async def _again(self, commands: Sequence[Command], answers: list[Any]) -> list[Any]:
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, redis_errors.NoScriptError)]
        loaded = await self._send([("SCRIPT", "LOAD", script.text) for script in ALL])
        refused = next((answer for answer in loaded if isinstance(answer, Exception)), None)
        places = unknown if refused else _with_followers(commands, unknown)
        again = [refused] * len(places) if refused else await self._send([commands[place] for place in places])
        for place, answer in zip(places, again, strict=True):
            answers[place] = answer
        return answers

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        packed = _packed(commands)
        try:
            return await self._ask(packed, len(commands))
        except (TimeoutError, redis_errors.BusyLoadingError):  # waiting once more would not be quick
            raise
        except (redis_errors.ConnectionError, OSError):
            # Once more, at once: that heals a connection to a server that was restarted. All our writes can be
            # sent twice. The library's own ten tries, with pauses, would hold a caller for seconds.
            return await self._ask(packed, len(commands))

    async def _ask(self, packed: bytes, count: int) -> list[Any]:
        try:
            wire = self._wire
            if wire is None or not wire.is_open:
                wire = self._wire = await self._opened()
            answers = await wire.ask(packed, count)
        except BaseException:
            await self.close(nowait=True)  # answers may be under way that nobody would read
            raise
        for answer in answers:
            if isinstance(answer, redis_errors.RedisError):
                await self._heed(answer)
        return answers

    async def _opened(self) -> Wire:
        await self.close(nowait=True)
        await open_connection(self._connection)
        return Wire(self._connection)

    async def _heed(self, error: redis_errors.RedisError) -> None:
        """Close the connection where what was answered is no answer to a command.

        Raises:
            ConnectionError: that was so; or a server answers that is the primary no more.
        """
        deposed = isinstance(error, redis_errors.ReadOnlyError) and is_of_sentinels(self._connection)
        refused = isinstance(error, redis_errors.ConnectionError)
        if deposed or (refused and not isinstance(error, redis_errors.BusyLoadingError)):
            await self.close(nowait=True)
            raise redis_errors.ConnectionError("the server is not the primary any more") if deposed else error

    async def close(self, *, nowait: bool = False) -> None:
        """Close the connection; the next exchange opens it again. ``nowait``: what was not sent yet is not sent."""
        wire, self._wire = self._wire, None
        if nowait and wire is not None:
            wire.abort()
        await self._connection.disconnect(nowait=nowait)


def _packed(commands: Sequence[Command]) -> bytes:
    return b"".join([pack_command(each) for each in commands])  # type: ignore[arg-type]  # its stub is wrong


def _with_followers(commands: Sequence[Command], unknown: Sequence[int]) -> list[int]:
    """The places of commands, and of what reads behind the first of them, or lists what they made."""
    return [
        place
        for place, command in enumerate(commands)
        if place in unknown or (place > unknown[0] and command[0] in _FOLLOW)
    ]
