"""A server with flows: its connections and its key."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import ConfigError, FlowFailed
from .http_pool import BUSY, CONNECT_SECONDS, CONNECTIONS, CUT, REFUSED, UNSENT, Pool, Response
from .http_problems import Call, Problems
from .http_reply import Reply
from .server_key import ServerKey


class FlowServer:
    """A Flowise or Langflow server and, for each event loop, a pool of connections that opens on first use.

    It follows no redirect, so question and key go nowhere else, and sends nothing again that the server may have
    got.

    Args:
        name: its name in the settings.
        url: where it is: all that its addresses begin with.
        key: the key that it wants, if it wants one.
        ca_file: PEM file of the authorities that its certificate is verified with; else those of the system.
        verify: whether its certificate is verified at all.

    Raises:
        ConfigError: the key or the file cannot be used.
    """

    def __init__(
        self, name: str, url: str, *, key: str | None, ca_file: str | None = None, verify: bool = True
    ) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self.key = ServerKey(_usable_key(name, key))
        self._trust = _trust(name, ca_file) if verify else False
        self.problems = Problems(name, self.url, self.key)
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"FlowServer({self.name!r}, {self.url!r})"

    def key_as(self, header: str, scheme: str = "") -> dict[str, str]:
        """The header that carries the key; none if there is no key."""
        return {header: scheme + self.key.value} if self.key.value else {}

    @property
    def period(self) -> object:
        """Stands for the time since the server may last have been restarted or replaced; see `Presence`."""
        return self._pool.presence.period

    @property
    def last_period(self) -> object:
        """The period in which the server answered last, whether it is still there or not."""
        return self._pool.presence.last_period

    async def fetch(self, call: Call, *, missing: bool = False) -> Any:
        """What the server answers, decoded; None for a 404 if ``missing`` says that it is an answer, too.

        Raises:
            FlowFailed, FlowUnsettled: it did not answer, or with an error.
        """
        async with self.open(call, missing=missing) as reply:
            answer = await reply.json()
            return None if reply.status == 404 else answer

    @asynccontextmanager
    async def open(self, call: Call, *, missing: bool = False) -> AsyncIterator[Reply]:
        """The server's answer, to be read while it arrives; for arguments and errors see `fetch`."""
        pool = self._pool
        try:
            response = await self._send(pool, call)
            try:
                pool.presence.answered(response.connection)
                reply = Reply(response, call, self.problems, self.key)
                if not (200 <= reply.status < 300 or (missing and reply.status == 404)):
                    raise await reply.error()
                yield reply
                pool.presence.answered(response.connection)
            finally:
                await response.close()
        except FlowFailed:
            pool.presence.interrupted()
            raise

    async def _send(self, pool: Pool, call: Call) -> Response:
        url = self.url + call.path
        try:
            try:
                return await pool.send(call, url)
            except REFUSED:  # nothing was sent
                return await pool.send(call, url)
        except BUSY as error:
            raise self.problems.busy(call, CONNECTIONS, CONNECT_SECONDS) from error
        except UNSENT as error:
            raise self.problems.unsent(call, error) from error
        except CUT as error:
            raise self.problems.cut(call, error) from error

    @property
    def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._pools[loop] = Pool(self.url, self._trust)
        return pool

    async def close(self) -> None:
        """Close the connections of this event loop; the next use opens others."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()


def _usable_key(name: str, key: str | None) -> str | None:
    key = (key or "").strip()
    if any(not "!" <= character <= "~" for character in key):
        raise ConfigError(
            f"the key of server {name!r} holds characters that no key has (spaces, line breaks or the like); see "
            f"the environment variable that servers.{name}.key_env names"
        )
    return key or None


def _trust(name: str, ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
    except OSError as error:
        raise ConfigError(f"servers.{name}.ca_file is {ca_file!r}, which cannot be used: {error}") from error
