"""Connections to whichever server the sentinels name as the primary.

A connection asks them whenever it opens. One that was open to a primary that is no longer one closes: the old
primary closes it, or answers a write with READONLY, which the library takes as a reason to ask again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import ConnectionError as NotConnected

from .redis_client import ASK_SECONDS, CONNECT_SECONDS, Connection, check, no_retries, usable
from .redis_hosts import parse

PORT = 26379
_FORM = "redis+sentinel://USER:PASSWORD@SENTINEL:26379,SENTINEL:26379/NAME/0"


def sentinel_connections(url: str) -> Callable[[], Connection]:
    """What makes connections to the primary of a ``redis+sentinel://`` or ``rediss+sentinel://`` URL.

    Raises:
        ConfigError: the URL cannot be used, or a TLS file that it names.
    """
    with usable(url):
        hosts = parse(url, PORT)
        match hosts.path:
            case [service]:
                database = 0
            case [service, number] if number.isdigit():
                database = int(number)
            case _:
                raise ValueError(f"it has to look like {_FORM}")
        options = hosts.options | ({"db": database} if database else {})
        asking = {name: value for name, value in options.items() if name == "ssl" or name.startswith("ssl_")}
        for name in ("username", "password"):
            if secret := options.pop(f"sentinel_{name}", None):
                asking[name] = secret
        pool = _Primary(hosts.servers, service, asking, **options)
        make_connection: Callable[[], Connection] = pool.make_connection
        check(make_connection())
    return make_connection


class _Primary(SentinelConnectionPool):
    """Makes connections; keeps none, and none to a sentinel, since they would belong to one event loop."""

    def __init__(
        self, sentinels: Iterable[tuple[str, int]], service: str, asking: dict[str, Any], **options: Any
    ) -> None:
        self._sentinels = deque(sentinels)
        self._asking = asking | {
            "socket_connect_timeout": ASK_SECONDS,
            "socket_timeout": ASK_SECONDS,
            "retry": no_retries(),
        }
        own = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": None, "retry": no_retries()}
        options = own | options | {"redis_connect_func": _greet_primary}
        super().__init__(service, None, **options)  # type: ignore[no-untyped-call]  # redis-py's own

    async def get_master_address(self) -> tuple[str, int]:
        """Where the primary is, as the first sentinel says that answers."""
        sentinel = Sentinel(self._sentinels, sentinel_kwargs=self._asking)  # type: ignore[no-untyped-call]  # same
        try:
            address: tuple[str, int] = await sentinel.discover_master(self.service_name)
        except BaseException:
            self._sentinels.rotate(-1)  # whoever gave up waiting for the first one asks another the next time
            raise
        finally:
            await sentinel.aclose()
        return address


async def _greet_primary(connection: AbstractConnection) -> None:
    """Log in, and go away again from a replica: a sentinel may be the last to hear of a failover."""
    await connection.on_connect()
    await connection.send_command("INFO", "replication")
    if b"role:master" not in await connection.read_response():
        raise NotConnected("the server that a sentinel named is a replica; a failover is under way")
