"""URLs that name several servers: ``redis+sentinel://HOST,HOST/NAME/0`` and ``redis+cluster://HOST,HOST``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url


@dataclass(frozen=True, slots=True)
class Hosts:
    """What such a URL says: the servers, the parts of its path, and the library's options for a connection."""

    servers: tuple[tuple[str, int], ...]
    path: tuple[str, ...]
    options: dict[str, Any]


def parse(url: str, port: int) -> Hosts:
    """Take a URL apart; ``port`` is that of a server that names none.

    Each server is read by the library's own parser, as a URL of its own with the user and the options of all.

    Raises:
        ValueError: a part of it is not what it should be.
    """
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    scheme = parts.scheme.partition("+")[0]
    each = [parse_url(f"{scheme}://{user}{at}{host}?{parts.query}") for host in hosts.split(",")]
    options: dict[str, Any] = dict(each[0])
    options["ssl"] = options.pop("connection_class", None) is SSLConnection
    options.pop("host", None)
    options.pop("port", None)
    servers = tuple((one.get("host", "localhost"), one.get("port", port)) for one in each)
    return Hosts(servers, tuple(unquote(part) for part in parts.path.split("/") if part), options)
