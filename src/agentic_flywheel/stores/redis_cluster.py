"""Redis Cluster: a pipe for each primary, and each command goes where its key is.

The library's own client keeps the map of the slots; we read it again when a server cannot be reached or sends us
elsewhere. Replicas are never asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from functools import partial
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

from ..errors import Misconfigured, PartlyUnavailable, StoreError, Unavailable
from .redis_client import ASK_SECONDS, Connection, check, translate, usable
from .redis_hosts import parse
from .redis_lane import Command
from .redis_pipe import Carrier, Pipe
from .redis_watch import Watcher

log = logging.getLogger("agentic_flywheel.store")

PORT = 6379
MOST_ROUNDS = 5  # in which a command is sent to another server; two are enough unless slots move while we look

Answers = dict[int, Any]  # by the commands' places


def cluster_clients(url: str) -> Callable[[], RedisCluster]:
    """What makes the library's client for a ``redis+cluster://`` or ``rediss+cluster://`` URL.

    Raises:
        ConfigError: the URL cannot be used, or a TLS file that it names.
    """
    with usable(url):
        hosts = parse(url, PORT)
        if any(part != "0" for part in hosts.path):
            raise ValueError("a cluster has database 0 only")
        options: dict[str, Any] = {
            "socket_connect_timeout": ASK_SECONDS,
            "socket_timeout": ASK_SECONDS,
            "require_full_coverage": False,  # what is left of a cluster serves what is left of the sessions
            **hosts.options,
        }

        def make_client() -> RedisCluster:
            # It adds the address to the options of a node, so each needs options of its own.
            nodes = [ClusterNode(host, port) for host, port in hosts.servers]
            return RedisCluster(startup_nodes=nodes, **options)

        for node in make_client().startup_nodes:
            check(_connect_to(node))
    return make_client


def _connect_to(node: ClusterNode) -> Connection:
    # A whole exchange has a time-out of its own, see `connections`.
    options = node.connection_kwargs | {"socket_timeout": None}
    made: Connection = node.connection_class(**options)
    return made


class Cluster(Carrier):
    """Runs commands for many callers on the servers of a cluster."""

    is_one_server = False

    def __init__(self, make_client: Callable[[], RedisCluster]) -> None:
        self._make_client = make_client
        self._loop: asyncio.AbstractEventLoop | None = None

    def _enter_loop(self) -> None:
        """Start afresh in a new event loop: connections and tasks belong to the one that made them."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._client = self._make_client()
            self._nodes = self._client.nodes_manager
            self._pipes: dict[str, Pipe] = {}
            self._learning: asyncio.Task[None] | None = None
            self._closing: set[asyncio.Task[None]] = set()
            self._away: set[str] = set()  # servers of which was said that they are away

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to the commands, in order; those to one server are sent to it together, all at the same time.

        Raises:
            Unavailable, Misconfigured: not all could be sent, or not all were answered.
        """
        self._enter_loop()
        if not self._nodes.slots_cache:
            await self._learn()
        answers: Answers = {}
        for _ in range(MOST_ROUNDS):
            left = [place for place in range(len(commands)) if place not in answers]
            if not left:
                return [answers[place] for place in range(len(commands))]
            await self._round(commands, left, answers)
        raise Unavailable("the Redis cluster sends us from one server to the next; its slots may be moving")

    async def steps(self, *stages: Sequence[Command]) -> list[Any]:
        return [answer for stage in stages for answer in await self.run(stage)]

    async def servers(self) -> list[Carrier]:
        self._enter_loop()
        await self._learn()
        return [self._pipe(node) for node in self._client.get_primaries()]

    @asynccontextmanager
    async def watching(self, key: str) -> AsyncIterator[Watcher]:
        look: Command = ("STRLEN", key)
        await self.run([look])  # learns which server has the slot by now
        pipe, asking = self._pipe(self._node(key)), False
        (answer,) = await pipe.run([look])
        if isinstance(answer, redis_errors.AskError):  # the key has left it, and the slot has not yet
            pipe, asking = self._pipe_of(answer), True
        async with pipe.watching(key, asking=asking) as watcher:
            yield watcher

    async def _round(self, commands: Sequence[Command], places: Iterable[int], answers: Answers) -> None:
        """Send commands where the map says, and note their answers; those to be sent elsewhere get none yet."""
        groups = self._by_node(commands, places)
        found = await self._exchange(commands, groups)
        for (node, group), got in zip(groups.items(), found, strict=True):
            if isinstance(got, BaseException):
                await self._look_elsewhere(commands, group, node, got)
                continue
            if self._away:
                self._away.discard(node.name)
            for place, answer in zip(group, got, strict=True):
                await self._note(commands[place], place, answer, answers)

    def _by_node(self, commands: Sequence[Command], places: Iterable[int]) -> dict[ClusterNode, list[int]]:
        groups: dict[ClusterNode, list[int]] = defaultdict(list)
        node = None
        for place in places:
            key = _key(commands[place])
            if key is not None or node is None:  # one without a key goes where the one before it went
                node = self._node(key or commands[0][0])
            groups[node].append(place)
        return groups

    def _node(self, key: Any) -> ClusterNode:
        try:
            return self._nodes.get_node_from_slot(key_slot(key.encode()))
        except (redis_errors.SlotNotCoveredError, KeyError):
            self._learn_beside()
            raise PartlyUnavailable(
                "no server of the Redis cluster has the slot of this key; is one down?"
            ) from None

    async def _exchange(
        self, commands: Sequence[Command], groups: dict[ClusterNode, list[int]]
    ) -> list[list[Any] | BaseException]:
        """The answers of each server, or why there are none."""
        orders = [(self._pipe(node), [commands[place] for place in group]) for node, group in groups.items()]
        try:
            if len(orders) == 1:
                ((pipe, order),) = orders
                return [await pipe.run(order)]
            return await asyncio.gather(*(pipe.post(order) for pipe, order in orders), return_exceptions=True)
        except StoreError as error:
            return [error]
        except asyncio.CancelledError:  # for one that hangs, there may be another by now
            self._learn_beside()
            raise

    async def _look_elsewhere(
        self, commands: Sequence[Command], group: list[int], node: ClusterNode, error: BaseException
    ) -> None:
        """Learn the map anew after a server gave no answers; raise its error if it is still the one to ask.

        Whoever gives the map serves the other sessions, so it is an error of a part of the cluster only.
        """
        if not isinstance(error, Unavailable) or isinstance(error, Misconfigured):
            raise error
        await self._learn(without=node.name)
        if node in self._by_node(commands, group):
            if node.name not in self._away:
                self._away.add(node.name)
                log.warning("a server of the cluster is away: %s", error)
            raise PartlyUnavailable(str(error)) from error

    async def _note(self, command: Command, place: int, answer: Any, answers: Answers) -> None:
        match answer:
            case redis_errors.MovedError():
                await self._nodes.move_slot(answer)
                self._learn_beside()
            case redis_errors.AskError():
                answers[place] = (await self._pipe_of(answer).run([("ASKING",), command]))[1]
                if isinstance(answers[place], redis_errors.AskError):
                    del answers[place]
            case redis_errors.ClusterDownError() | redis_errors.TryAgainError():
                self._learn_beside()
                raise translate(answer) from answer
            case _:
                answers[place] = answer

    def _pipe_of(self, answer: redis_errors.AskError) -> Pipe:
        """To the server that has a key whose slot is on its way there."""
        return self._pipe(ClusterNode(answer.host, answer.port, **self._client.connection_kwargs))

    def _pipe(self, node: ClusterNode) -> Pipe:
        pipe = self._pipes.get(node.name)
        if pipe is None:
            pipe = self._pipes[node.name] = Pipe(partial(_connect_to, node))
        return pipe

    async def _learn(self, *, without: str | None = None) -> None:
        """Read the map of the slots, once for all who want it; `without` a server, as long as others answer."""
        await asyncio.shield(self._learn_beside(without))

    def _learn_beside(self, without: str | None = None) -> asyncio.Task[None]:
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._read_map(without), context=Context())
            self._learning.add_done_callback(_heed)
        return self._learning

    async def _read_map(self, without: str | None) -> None:
        try:
            await self._nodes.initialize(last_failed_node_name=without)
        except Exception as error:
            raise _meaning(error) from error
        self._away.intersection_update(self._nodes.nodes_cache)
        for name in [name for name in self._pipes if name not in self._nodes.nodes_cache]:
            task = asyncio.create_task(self._pipes.pop(name).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Finish what callers wait for and close the connections; they open again on the next use."""
        if self._loop is not asyncio.get_running_loop():
            return
        if self._learning is not None:
            await asyncio.wait([self._learning])
        await asyncio.gather(*self._closing, *(pipe.close() for pipe in self._pipes.values()))
        await self._nodes.aclose()
        await self._nodes.aclose("startup_nodes")


def _key(command: Command) -> Any:
    """The one key of a command; None for one without."""
    if command[0] == "EVALSHA":
        return command[3]
    return command[1] if len(command) > 1 else None


def _meaning(error: BaseException) -> StoreError:
    """What kept the library from reading the map: it says so of the last server that it asked, if at all."""
    cause: BaseException | None = error
    while isinstance(cause, redis_errors.RedisClusterException):
        if "not enabled" in str(cause) and isinstance(cause.__context__, redis_errors.NoPermissionError):
            return translate(cause.__context__)
        if "not enabled" in str(cause):
            return Misconfigured("this Redis is no cluster; begin the URL with redis:// or rediss://")
        cause = cause.__cause__
    if isinstance(cause, Exception):
        return translate(cause)
    return Unavailable(f"the Redis cluster cannot be reached ({str(error)[:200]})")


def _heed(task: asyncio.Task[None]) -> None:
    """Take note of an error that nobody may be waiting for."""
    if not task.cancelled():
        task.exception()
