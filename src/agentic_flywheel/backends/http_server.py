"""A server with flows: its connections and its key. The one door to the HTTP client library."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import httpx2

from ..errors import ConfigError, FlowFailed
from .events import Event, EventReader
from .http_problems import LARGEST_REPLY, Call, Problems
from .list_head import ListHead
from .presence import IDLE_SECONDS, Presence
from .server_key import ServerKey

CONNECT_SECONDS = 5.0
CONNECTIONS = 200

ANSWER_SECONDS = 10.0
"""How long a server may say nothing when it is asked for something; a flow that runs has its own time-out."""

_RUNS = {"timeout": httpx2.Timeout(None, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS).as_dict()}
_ASKS = {"timeout": httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS).as_dict()}
_ALWAYS = {"accept-encoding": "gzip, deflate", "user-agent": "agentic-flywheel"}
_LIMITS = httpx2.Limits(
    max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE_SECONDS
)
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.InvalidURL,
)
_address = lru_cache(httpx2.URL)  # to take one apart costs a tenth of a call


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
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()

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
                stream = response.extensions["network_stream"]
                pool.presence.answered(stream)
                reply = Reply(response, call, self.problems, self.key)
                if not response.is_success and not (missing and reply.status == 404):
                    raise await reply.error()
                yield reply
                pool.presence.answered(stream)
            finally:
                await response.aclose()
        except FlowFailed:
            pool.presence.interrupted()
            raise

    async def _send(self, pool: _Pool, call: Call) -> httpx2.Response:
        try:
            request = pool.request(call, self.url + call.path)
            try:
                return await pool.transport.handle_async_request(request)
            except httpx2.ConnectError:  # nothing was sent
                return await pool.transport.handle_async_request(request)
        except httpx2.PoolTimeout as error:
            raise self.problems.busy(call, CONNECTIONS, CONNECT_SECONDS) from error
        except _UNSENT as error:
            raise self.problems.unsent(call, error) from error
        except httpx2.HTTPError as error:
            raise self.problems.cut(call, error) from error

    @property
    def _pool(self) -> _Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._pools[loop] = _Pool(self.url, self._trust)
        return pool

    async def close(self) -> None:
        """Close the connections of this event loop; the next use opens others."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.transport.aclose()


class _Pool:
    """The connections of one event loop, and what they tell of the server.

    Requests go to the library's transport. Its client before that would cost each of them a tenth more, for what is
    not wanted here: to follow redirects, to log in, to bring back cookies.
    """

    def __init__(self, url: str, trust: ssl.SSLContext | bool) -> None:
        self.transport = httpx2.AsyncHTTPTransport(verify=trust, limits=_LIMITS, proxy=_proxy_for(url))
        self.presence = Presence()

    def request(self, call: Call, url: str) -> httpx2.Request:
        """The request of a call."""
        address, body = _address(url), call.body or b""
        headers = {"host": address.netloc.decode("ascii"), **_ALWAYS, **call.headers}
        if call.body is not None:
            headers["content-length"] = str(len(body))
        return httpx2.Request(
            "GET" if call.body is None else "POST",
            address,
            headers=headers,
            params=call.params,
            stream=httpx2.ByteStream(body),
            extensions=_RUNS if call.runs else _ASKS,
        )


def _proxy_for(url: str) -> str | None:
    """The proxy by which the environment has us reach a server; None: there is none."""
    address, proxies = httpx2.URL(url), getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(address.netloc.decode("ascii")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


class Reply:
    """A server's answer to a call, whose body may still be on its way. The server's key stands nowhere in it.

    Attributes:
        status: its HTTP status.
        kind: its media type, without parameters.
    """

    def __init__(self, response: httpx2.Response, call: Call, problems: Problems, key: ServerKey) -> None:
        self.status = response.status_code
        self.kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._response = response
        self._call = call
        self._problems = problems
        self._key = key

    async def json(self) -> Any:
        """The body, decoded.

        Raises:
            FlowFailed, FlowUnsettled: it did not arrive, is too large, or is no JSON.
        """
        pieces: list[bytes] = []
        await self._read(pieces.append)
        body = b"".join(pieces)
        try:
            return self._key.decoded(body)
        except ValueError as error:
            raise self._problems.not_json(self._call, self.kind, body) from error

    async def first(self, count: int | None) -> Any:
        """The body, decoded. Of a long list its first elements only: so many, or as many as a long reply may hold.

        Raises:
            FlowFailed, FlowUnsettled: as `json`.
        """
        head = ListHead(count, LARGEST_REPLY // 2)
        await self._read(head.feed, whole=False)
        body = head.closed()
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
        if self._response.has_redirect_location:
            return self._problems.redirected(self._call, self.status, self._response.headers["location"])
        pieces: list[bytes] = []
        await self._read(pieces.append)
        return self._problems.refused(self._call, self.status, self.kind, b"".join(pieces))

    async def _read(self, take: Callable[[bytes], object], *, whole: bool = True) -> None:
        """Hand the body on as it arrives, until its end or until ``take`` says that it is enough.

        One that is needed ``whole`` and says that it is too large is not read at all.
        """
        if whole and _announced(self._response) > LARGEST_REPLY:
            raise self._problems.too_large(self._call)
        response, size = self._response, 0
        # To look at what is not compressed as if it were costs a twelfth of a call.
        pieces = response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()
        try:
            async for piece in pieces:
                size += len(piece)
                if size > LARGEST_REPLY:
                    raise self._problems.too_large(self._call)
                if take(piece) is True:
                    return
        except httpx2.HTTPError as error:
            raise self._problems.cut(self._call, error) from error


def _announced(response: httpx2.Response) -> int:
    """How many bytes a response says that its body has; 0 where it does not say."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and length.isascii() else 0


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
