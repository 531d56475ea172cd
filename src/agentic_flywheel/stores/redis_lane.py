"""One connection on which commands are sent together and answered in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hiredis import pack_command
from redis import exceptions as redis_errors

from .deadline import current
from .redis_client import ANSWER_SECONDS, Connection, open_connection
from .redis_scripts import ALL, READ, Argument

Command = tuple[Argument, ...]


class Lane:
    """A connection that opens when it is needed and serves one exchange at a time.

    It speaks to the client library's connection itself: the library's pipeline objects cost more than the
    commands that we send.
    """

    def __init__(self, make_connection: Callable[[], Connection]) -> None:
        self._connection = make_connection()

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to the commands, in order; one that failed is answered by its exception.

        A script that the server has forgotten is given to it, and its command sent again. So is what reads behind
        it, or lists what it made: that was too early.

        Raises:
            RedisError, OSError, TimeoutError: none was sent, or not all were answered.
        """
        answers = await self._send(commands)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, redis_errors.NoScriptError)]
        if unknown:
            loaded = await self._send([("SCRIPT", "LOAD", script.text) for script in ALL])
            refused = next((answer for answer in loaded if isinstance(answer, Exception)), None)
            places = unknown if refused else _with_followers(commands, unknown)
            again = [refused] * len(places) if refused else await self._send([commands[place] for place in places])
            for place, answer in zip(places, again, strict=True):
                answers[place] = answer
        return answers

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return await self._send_once(commands)
        except (TimeoutError, redis_errors.BusyLoadingError):  # waiting once more would not be quick
            raise
        except (redis_errors.ConnectionError, OSError):
            # Once more, at once: that heals a connection to a server that was restarted. All our writes can be
            # sent twice. The library's own ten tries, with pauses, would hold a caller for seconds.
            return await self._send_once(commands)

    async def _send_once(self, commands: Sequence[Command]) -> list[Any]:
        connection, deadline = self._connection, current()
        watched = deadline is not None and deadline.is_watched  # then a second clock would only cost time
        try:
            async with asyncio.timeout(None if watched else ANSWER_SECONDS):
                if not connection.is_connected:
                    await open_connection(connection)  # sending would, too, but ask no sentinel where to
                packed = b"".join([pack_command(each) for each in commands])  # type: ignore[arg-type]  # its stub is wrong
                await connection.send_packed_command(packed, check_health=False)
                return [await _answer(connection) for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)  # answers may be under way that nobody would read
            raise

    async def close(self) -> None:
        """Close the connection; the next exchange opens it again."""
        await self._connection.disconnect()


def _with_followers(commands: Sequence[Command], unknown: Sequence[int]) -> list[int]:
    """The places of commands, and of what reads behind the first of them, or lists what they made."""
    return [
        place
        for place, command in enumerate(commands)
        if place in unknown or (place > unknown[0] and (READ.digest in command[:2] or command[0] == "ZADD"))
    ]


async def _answer(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except (redis_errors.ResponseError, redis_errors.BusyLoadingError) as error:
        return error
