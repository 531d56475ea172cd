"""Writing what depends on more than a script should be handed: watch a key, look at it, write if nobody else did.

To hand a megabyte to a script takes Redis several times as long as to write it, and so does a script that looks at
one; meanwhile it serves nobody. A transaction takes no longer than the plain commands in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from .redis_client import raise_translated, translate
from .redis_lane import Command, Lane

LARGE = 256 * 1024  # bytes that no script is handed, or looks at


class Watcher:
    """A connection for one transaction at a time; it opens when the first one begins."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._free = asyncio.Lock()
        self._before: list[Command] = []  # each command

    @asynccontextmanager
    async def alone(self, *, asking: bool = False) -> AsyncIterator[Watcher]:
        """Itself, once the transactions before it are over; ``asking`` as `Pipe.watching`."""
        async with self._free:
            self._before = [("ASKING",)] if asking else []
            yield self

    async def watch(self, key: str, *commands: Command) -> list[Any]:
        """The answers to commands that look at a key, which is watched from then on, and no other one.

        Raises:
            Unavailable, Misconfigured: one could not be carried out.
        """
        _, _, *answers = await self._answers(self._lane.exchange, [("UNWATCH",), ("WATCH", key), *commands])
        return answers

    async def ask(self, *command: Any) -> Any:
        """The answer to one more of them."""
        (answer,) = await self._answers(self._lane.go_on, [command])
        return answer

    async def write(self, *commands: Command) -> bool:
        """Carry out commands, all at one moment, if nobody has changed the key since it is watched.

        Gives whether that was so; without commands it only tells. After an error nobody knows, as after any other
        command that got no answer.
        """
        answers = await self._answers(self._lane.go_on, [("MULTI",), *commands, ("EXEC",)])
        done = answers[-1]
        for answer in done or ():
            raise_translated(answer)
        return done is not None

    async def _answers(
        self, send: Callable[[Sequence[Command]], Awaitable[list[Any]]], commands: list[Command]
    ) -> list[Any]:
        sent = [each for command in commands for each in (*self._before, command)]
        try:
            answers = [raise_translated(answer) for answer in await send(sent)]
        except (RedisError, OSError) as error:  # a time-out is an OSError, too
            raise translate(error) from error
        return answers[len(self._before) :: 1 + len(self._before)]

    async def close(self) -> None:
        """Close the connection; it opens again on the next use."""
        async with self._free:
            await self._lane.close()
