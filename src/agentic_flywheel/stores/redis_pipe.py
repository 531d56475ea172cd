"""Group commit: commands that are ready at the same moment share one pipeline on one connection."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from .redis_client import Connection, raise_translated, translate
from .redis_lane import Command, Lane
from .redis_scripts import Argument
from .redis_watch import Watcher

MOST_COMMANDS = 512  # in a pipeline; more would keep the first callers waiting for the last


@dataclass(slots=True)
class _Order:
    commands: Sequence[Command]
    answers: asyncio.Future[list[Any]]


class Carrier(ABC):
    """Carries commands to Redis, whatever it consists of, and brings their answers.

    ``is_one_server`` says that a command may name several keys.
    """

    is_one_server: bool

    @abstractmethod
    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to the commands, in order; one that failed is answered by its exception.

        Commands on one key are carried out in their order, on several keys perhaps not.

        Raises:
            Unavailable, Misconfigured: not all could be sent, or not all were answered.
        """

    @abstractmethod
    async def steps(self, *stages: Sequence[Command]) -> list[Any]:
        """The same for the commands of all stages; a stage begins after the one before it was carried out."""

    @abstractmethod
    async def servers(self) -> list[Carrier]:
        """What carries commands without a key to each server that has keys of ours."""

    @abstractmethod
    def watching(self, key: str) -> AbstractAsyncContextManager[Watcher]:
        """What watches a key, for one caller at a time; the others wait."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what callers wait for and close the connections; they open again on the next use."""

    async def all(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to the commands; the first error among them is raised, translated."""
        return [raise_translated(answer) for answer in await self.run(commands)]

    async def one(self, *command: Argument) -> Any:
        """The answer to one command; an error is raised, translated."""
        (answer,) = await self.all([command])
        return answer


class Pipe(Carrier):
    """Runs commands for many callers on a few connections to one server.

    A caller alone is served at once. While a pipeline is on its way, the orders of others gather, and the
    next one takes them all. A caller that gives up does not take the pipeline of the others with it.
    """

    is_one_server = True

    def __init__(self, make_connection: Callable[[], Connection], lanes: int = 2) -> None:
        self._make_connection = make_connection
        self._lane_count = lanes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Lane] = []
        self._waiting: deque[_Order] = deque()
        self._under_way: dict[Lane, list[_Order]] = {}
        self._at_work: set[asyncio.Task[None]] = set()

    def _enter_loop(self) -> asyncio.AbstractEventLoop:
        """Start afresh in a new event loop: connections and tasks belong to the one that made them."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._idle = [Lane(self._make_connection) for _ in range(self._lane_count)]
            self._watcher = Watcher(Lane(self._make_connection))
            self._waiting.clear()
            self._under_way.clear()
            self._at_work.clear()
        return loop

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        self._enter_loop()
        if not commands:
            return []
        if self._idle and not self._waiting:
            return await self._run_alone(self._idle.pop(), commands)
        return await self.post(commands)

    def post(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """What `run` does, begun at once, for a caller who waits for several."""
        order = _Order(commands, self._enter_loop().create_future())
        self._waiting.append(order)
        self._serve_on_an_idle_lane()
        return order.answers

    async def steps(self, *stages: Sequence[Command]) -> list[Any]:
        return await self.run([command for stage in stages for command in stage])

    async def servers(self) -> list[Carrier]:
        return [self]

    def watching(self, key: str, *, asking: bool = False) -> AbstractAsyncContextManager[Watcher]:
        """The same; ``asking`` a server of a cluster to which the slot of the key is on its way."""
        self._enter_loop()
        return self._watcher.alone(asking=asking)

    async def _run_alone(self, lane: Lane, commands: Sequence[Command]) -> list[Any]:
        """The same, in the caller's own task: most callers are alone, and a task for each costs them time."""
        try:
            return await lane.exchange(commands)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        finally:
            self._idle.append(lane)
            if self._waiting:
                self._serve_on_an_idle_lane()

    def _serve_on_an_idle_lane(self) -> None:
        if self._idle:
            task = asyncio.create_task(self._work(self._idle.pop()), context=Context())
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def close(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            return
        orders = [*self._waiting, *(order for orders in self._under_way.values() for order in orders)]
        if wanted := [order.answers for order in orders if not order.answers.done()]:
            await asyncio.wait(wanted)
        if at_work := set(self._at_work):
            for task in at_work:  # what is left are answers that nobody waits for any more
                task.cancel()
            await asyncio.wait(at_work)
        for lane in self._idle:
            await lane.close()
        await self._watcher.close()

    async def _work(self, lane: Lane) -> None:
        """Serve the orders that wait, all that fit into a pipeline at once, until there are none."""
        try:
            while self._waiting:
                self._under_way[lane] = orders = self._next_orders()
                if orders:
                    await self._serve(lane, orders)
                del self._under_way[lane]
        finally:
            self._under_way.pop(lane, None)
            self._idle.append(lane)

    async def _serve(self, lane: Lane, orders: list[_Order]) -> None:
        try:
            answers = await lane.exchange([command for order in orders for command in order.commands])
        except Exception as error:
            for order in orders:
                if not order.answers.done():
                    order.answers.set_exception(_meaning(error))
            return
        start = 0
        for order in orders:
            end = start + len(order.commands)
            if not order.answers.done():
                order.answers.set_result(answers[start:end])
            start = end

    def _next_orders(self) -> list[_Order]:
        """What a lane serves next: its share of all, so that Redis is at the one's while we are at the other's."""
        orders: list[_Order] = []
        count = 0
        share = -(-(len(self._waiting) + sum(map(len, self._under_way.values()))) // self._lane_count)
        while self._waiting and len(orders) < share:
            if orders and count + len(self._waiting[0].commands) > MOST_COMMANDS:
                break
            order = self._waiting.popleft()
            if not order.answers.done():
                orders.append(order)
                count += len(order.commands)
        return orders


def _meaning(error: Exception) -> Exception:
    return translate(error) if isinstance(error, RedisError | OSError | TimeoutError) else error
