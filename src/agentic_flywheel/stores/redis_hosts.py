"""URLs that name several servers: ``redis+sentinel://HOST,HOST/NAME/0`` and ``redis+cluster://HOST,HOST``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from redis.asyncio.connection import SSLConnection, parse_url

# By hand: urlsplit knows one server, and refuses an IPv6 address behind a comma in newer Pythons.
_SERVERS = re.compile(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?")


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
    kind, _, rest = url.partition("://")
    authority, path, query = _SERVERS.match(rest).groups()  # type: ignore[union-attr]  # any text has such parts
    user, at, hosts = authority.rpartition("@")
    scheme = kind.partition("+")[0]
    each = [parse_url(f"{scheme}://{user}{at}{host}?{query or ''}") for host in hosts.split(",")]
    options: dict[str, Any] = dict(each[0])
    options["ssl"] = options.pop("connection_class", None) is SSLConnection
    options.pop("host", None)
    options.pop("port", None)
    servers = tuple((one.get("host", "localhost"), one.get("port", port)) for one in each)
    return Hosts(servers, tuple(unquote(part) for part in path.split("/") if part), options)
