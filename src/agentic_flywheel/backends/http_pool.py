"""The connections to a flow server, and what is sent on them. The one door to the HTTP client library.

Requests go to the pool of connections of ``httpx2`` (its package ``httpcore2``). The client before it takes as long
again, for what is not wanted here: to follow redirects, to log in, to bring back cookies.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

from .http_problems import Call
from .http_wire import Network
from .presence import IDLE_SECONDS, Presence

CONNECT_SECONDS = 5.0
CONNECTIONS = 200

ANSWER_SECONDS = 10.0
"""How long a server may say nothing when it is asked for something; a flow that runs has its own time-out."""

BUSY = httpcore2.PoolTimeout
REFUSED = httpcore2.ConnectError
UNSENT = (
    httpcore2.ConnectError,
    httpcore2.ConnectTimeout,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
    httpcore2.LocalProtocolError,
    httpx2.InvalidURL,
)
"""What says that a server did not get a request."""

CUT = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.RemoteProtocolError, httpx2.DecodingError)
"""What else may be raised, where its answer did not arrive, or not all of it."""

_RUNS = {"timeout": {"connect": CONNECT_SECONDS, "pool": CONNECT_SECONDS}}
_ASKS = {
    "timeout": {
        "connect": CONNECT_SECONDS,
        "pool": CONNECT_SECONDS,
        "read": ANSWER_SECONDS,
        "write": ANSWER_SECONDS,
    }
}
_ALWAYS = (("accept-encoding", "gzip, deflate"), ("user-agent", "agentic-flywheel"))


class Pool:
    """The connections of one event loop to a server, and what they tell of it.

    Args:
        url: where the server is.
        trust: what its certificate is verified with: what the system trusts (True), something else, or nothing.
    """

    def __init__(self, url: str, trust: ssl.SSLContext | bool) -> None:
        self.presence = Presence()
        self._connections = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust) if url.startswith("https:") else None,
            proxy=_proxy_for(url),
            max_connections=CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=Network(),
        )

    async def send(self, call: Call, url: str) -> Response:
        """The answer to a call, to be read while it arrives, and closed in the end.

        Raises:
            BUSY, UNSENT, CUT: there is none.
        """
        target, host = _address(url, tuple(call.params.items()) if call.params else ())
        headers: list[tuple[str | bytes, str | bytes]] = [("host", host), *_ALWAYS, *call.headers.items()]
        if call.body is not None:
            headers.append(("content-length", str(len(call.body))))
        request = httpcore2.Request(
            "GET" if call.body is None else "POST",
            target,
            headers=headers,
            content=call.body,
            extensions=_RUNS if call.runs else _ASKS,
        )
        return Response(await self._connections.handle_async_request(request))

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.aclose()


class Response:
    """What a server answers, as it comes.

    Attributes:
        status: its HTTP status.
        connection: what it comes on, as `Presence` takes it.
    """

    def __init__(self, response: httpcore2.Response) -> None:
        self.status = response.status
        self.connection: Any = response.extensions["network_stream"]
        self._response = response
        self._headers = {name.lower(): value for name, value in reversed(response.headers)}

    def header(self, name: str) -> str:
        """A header by its name in small letters; '' if it is not there."""
        return self._headers.get(name.encode(), b"").decode("latin-1")

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives, decompressed."""
        if b"content-encoding" not in self._headers:  # to look at it as if it were costs a twelfth of a call
            return self._response.aiter_stream()
        body = _Body(self._response)
        return httpx2.Response(self.status, headers=self._response.headers, stream=body).aiter_bytes()

    async def close(self) -> None:
        """Read no more of it."""
        await self._response.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_stream()


@lru_cache(maxsize=1024)
def _address(url: str, params: tuple[tuple[str, str], ...]) -> tuple[httpcore2.URL, str]:
    """A URL as the pool takes it, and the header that names its host: to take one apart costs a tenth of a call."""
    address = httpx2.URL(url, params=dict(params)) if params else httpx2.URL(url)
    target = httpcore2.URL(
        scheme=address.raw_scheme, host=address.raw_host, port=address.port, target=address.raw_path
    )
    return target, address.netloc.decode("ascii")


def _proxy_for(url: str) -> httpcore2.Proxy | None:
    """The proxy by which the environment has us reach a server; None: there is none."""
    address, proxies = httpx2.URL(url), getproxies()
    found = proxies.get(address.scheme) or proxies.get("all")
    if not found or proxy_bypass(address.netloc.decode("ascii")):
        return None
    proxy = httpx2.Proxy(found if "://" in found else f"http://{found}")
    where = httpcore2.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    return httpcore2.Proxy(where, proxy.raw_auth)
