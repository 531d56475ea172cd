"""The address to listen on, and the names by which clients may call it."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..config import HttpSettings
from ..errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
BACKLOG = 2048
_ANY = ("0.0.0.0", "::")  # noqa: S104  # recognised here, to ask for names

_REASONS = {
    errno.EADDRINUSE: "another program, or another flywheel, listens there; take another by --port or http.port",
    errno.EADDRNOTAVAIL: "this machine has no such address; look at --host or http.host",
    errno.EACCES: "this user may not listen there; take a port from 1024 on",
}


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing but this machine can reach it there."""
    addresses = _addresses(host)
    return bool(addresses) and all(ip_address(address.partition("%")[0]).is_loopback for address in addresses)


def _addresses(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; at port 0, on one that is free.

    Raises:
        ConfigError: it cannot; says why and what to do.
    """
    addresses = _addresses(host)
    if not addresses:
        raise ConfigError(f"http.host is {host!r}, which is the name of no address")
    family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
    both = addresses[0] == "::" and socket.has_dualstack_ipv6()
    try:
        made = socket.create_server((addresses[0], port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise ConfigError(f"cannot listen on port {port} of {host}: {reason}") from error
    # asyncio has answers sent at once (TCP_NODELAY) only where a socket says that it speaks TCP. Without, an answer
    # on a connection that is kept waits 40 ms until the client acknowledges its first part.
    return socket.socket(made.family, made.type, socket.IPPROTO_TCP, fileno=made.detach())


def url_of(listener: socket.socket) -> str:
    """Where the server is found from this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"


def allowed_hosts(http: HttpSettings) -> list[str]:
    """What a request may have as its ``Host``, in the SDK's notation.

    A page of an attacker can make its own name mean this machine; what it cannot do is send another Host.

    Raises:
        ConfigError: the server is to listen on every address, and no name is given.
    """
    names = list(http.allowed_hosts)
    if http.url and (found := urlsplit(http.url).netloc):
        names.append(found)
    if http.host not in _ANY:
        names.append(f"[{http.host}]" if ":" in http.host else http.host)
    elif not names:
        raise ConfigError(
            f"http.host is {http.host}, every address of this machine: set http.allowed_hosts to the names by "
            "which clients call it, or http.url"
        )
    return [form for name in dict.fromkeys([*LOOPBACK, *names]) for form in _forms(name)]


def _forms(name: str) -> list[str]:
    """A name with a port is meant exactly so; one without, with any port."""
    has_port = name.rpartition("]")[2].count(":") == 1
    return [name] if has_port else [name, f"{name}:*"]


def allowed_origins(hosts: list[str]) -> list[str]:
    """Which pages may call from a browser: those of the server's own names."""
    return [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
