"""The one door to the Redis client library: how we connect, and what its errors mean to us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import redis.asyncio
from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.backoff import NoBackoff

from ..errors import ConfigError, Damaged, Misconfigured, ReadOnly, StoreError, Unavailable

Connection = AbstractConnection

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
ASK_SECONDS = 0.5
"""How long one of several servers is asked who the primary is, before the next one is."""


def connections(url: str) -> Callable[[], Connection]:
    """What makes connections for a URL (``redis://``, ``rediss://``, ``unix://``); each opens when it is used.

    Raises:
        ConfigError: the URL cannot be used, or a TLS file that it names.
    """
    with usable(url):
        _check_database(url)
        pool = redis.asyncio.ConnectionPool.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,  # a whole exchange has one, ANSWER_SECONDS; the default is one for each read
            retry=no_retries(),
        )
        make_connection: Callable[[], Connection] = pool.make_connection
        check(make_connection())
    return make_connection


def _check_database(url: str) -> None:
    """Refuse what the library takes for database 0."""
    parts = urlsplit(url)
    name = parts.path.strip("/")
    if parts.scheme != "unix" and name and not name.isdecimal() and "@" not in name:  # else: of a password
        raise ConfigError(
            f"the Redis URL {without_password(url)!r} cannot be used: a database is a number, and {name!r} is none"
        )


def no_retries() -> Retry:
    """Ours is in `Lane`; the library's default of ten with pauses takes seconds."""
    return Retry(NoBackoff(), 0)


def check(connection: Connection) -> None:
    """Read the TLS files of a connection that was just made, and open nothing."""
    if isinstance(connection, SSLConnection):
        try:
            connection.ssl_context.get()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"ssl_ca_certs, ssl_certfile or ssl_keyfile names no PEM file ({reason})") from None


def transport_of(connection: Connection) -> asyncio.Transport:
    """What an open connection sends and receives by.

    The library has no public name for it, nor for `errors_of`. These are the only places where we use others.
    """
    transport: asyncio.Transport = cast(Any, connection)._writer.transport
    return transport


def errors_of(connection: Connection) -> Callable[[str], Exception]:
    """What makes an exception of the text of an error that a server answers with."""
    parse: Callable[[str], Exception] = connection._parser.parse_error  # see `transport_of`
    return parse


def is_of_sentinels(connection: Connection) -> bool:
    """Whether sentinels name the server that a connection goes to, whenever it opens."""
    return isinstance(connection, SentinelManagedConnection)


async def open_connection(connection: Connection) -> None:
    """Open a connection that is not.

    Raises:
        RedisError, OSError, TimeoutError: it cannot be opened.
    """
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own
    except redis_errors.ConnectionError as error:
        # What the server said of our certificate may be lost when it closes the connection at once.
        if isinstance(connection, SSLConnection) and "reset by peer" in str(error):
            raise redis_errors.ConnectionError(f"TLS broken off: {error}") from error
        raise


@contextmanager
def usable(url: str) -> Iterator[None]:
    """Turn what the library says of a URL and its options into a `ConfigError`."""
    try:
        yield
    except (ValueError, TypeError, redis_errors.RedisError, redis_errors.RedisClusterException) as error:
        # What the parser says may quote a piece of the password, and so may a traceback.
        problem = str(error)
        if "@" in url and "PEM file" not in problem:
            problem = "percent-encode what is special in its password, and look at its options"
        raise ConfigError(f"the Redis URL {without_password(url)!r} cannot be used: {problem}") from None


def without_password(url: str) -> str:
    """The URL as it may be shown and logged: what stands before its last ``@`` is hidden.

    A password with a raw ``/``, ``?`` or ``#`` in it would get past a parser of URLs.
    """
    scheme, colon, rest = url.partition("://")
    _, at, place = rest.rpartition("@")
    return f"{scheme}{colon}{'***@' if at else ''}{place.partition('?')[0]}"


def translate(error: Exception) -> StoreError:
    """What an error of the client library means, and what to do about it."""
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    found, advice = _meaning(error, text)
    return found(f"{advice} ({text})")


def _meaning(error: Exception, text: str) -> tuple[type[StoreError], str]:
    if isinstance(error, redis_errors.ConnectionError):
        for word, found, advice in _OPENING:
            if word in str(error):
                return found, advice
    for kinds, found, advice in _MEANINGS:
        if isinstance(error, kinds):
            return found, advice
    for word, found, advice in _ANSWERS:
        if word in text:
            return found, advice
    return Unavailable, "Redis answered with an error"


_NO_MEMORY = "Redis is out of memory; raise its maxmemory or free some"
_IS_REPLICA = "this Redis is a read-only replica; a failover may be under way, else point the URL at the primary"
_LACKS_A_RIGHT = "the Redis user lacks a right; docs/operators.md has the ACL line that suffices"

_MEANINGS: list[tuple[tuple[type[Exception], ...], type[StoreError], str]] = [
    (
        (redis_errors.AuthenticationError, redis_errors.AuthenticationWrongNumberOfArgsError),
        Misconfigured,
        "Redis refuses the user or password, or wants one; check the URL",
    ),
    (
        (redis_errors.NoPermissionError,),
        Misconfigured,
        _LACKS_A_RIGHT,
    ),
    (
        (redis_errors.ReadOnlyError,),
        ReadOnly,
        _IS_REPLICA,
    ),
    # The library takes the word off that the server begins these answers with.
    ((redis_errors.ClusterDownError,), Unavailable, "the Redis cluster is down or failing over"),
    (
        (redis_errors.MovedError, redis_errors.AskError),
        Misconfigured,
        "this Redis is part of a cluster; begin the URL with redis+cluster:// or rediss+cluster://",
    ),
    (
        (redis_errors.TryAgainError,),
        Unavailable,
        "the Redis cluster is moving the key to another server; it will answer soon",
    ),
    ((redis_errors.BusyLoadingError,), Unavailable, "Redis is loading its data; it will answer soon"),
    (
        (redis_errors.OutOfMemoryError,),
        ReadOnly,
        _NO_MEMORY,
    ),
    (
        (redis_errors.TimeoutError, TimeoutError),
        Unavailable,
        "Redis did not answer in time; a write, if it was one, may have been applied",
    ),
    ((redis_errors.ConnectionError, OSError), Unavailable, "Redis cannot be reached"),
]

# What is said when a connection is opened, in the words of OpenSSL and of the library.
_OPENING: list[tuple[str, type[StoreError], str]] = [
    (
        "CERTIFICATE_VERIFY_FAILED",
        Misconfigured,
        "the certificate of Redis is not trusted; name its authority by ssl_ca_certs in the URL, "
        "and the server by a name that its certificate holds",
    ),
    (
        "ALERT",
        Misconfigured,
        "Redis refuses our TLS certificate, or wants one; name it by ssl_certfile and ssl_keyfile in the URL",
    ),
    (
        "TLS broken off",
        Unavailable,
        "Redis broke off the connection; it may refuse our certificate, or want one (ssl_certfile, ssl_keyfile)",
    ),
    (
        "AuthenticationError",
        Misconfigured,
        "the sentinels refuse the user or password, or want one; check sentinel_username and sentinel_password",
    ),
    (
        "No master found",
        Unavailable,
        "no sentinel that answers knows a primary of this name; a failover may be under way, "
        "else check the name and the sentinels in the URL",
    ),
]

_ANSWERS: list[tuple[str, type[StoreError], str]] = [
    ("WRONGTYPE", Damaged, "the key holds another Redis type than a string"),
    ("MISCONF", ReadOnly, "Redis cannot write to its disk and refuses writes; look at its log"),
    ("The user executing the script can't", Misconfigured, _LACKS_A_RIGHT),  # Redis
    ("ACL failure in script", Misconfigured, _LACKS_A_RIGHT),  # Valkey
    (
        "NOREPLICAS",
        ReadOnly,
        "Redis has too few replicas and refuses writes; start them, or lower its min-replicas-to-write",
    ),
    # Inside of a script, Redis 6.2 says it so.
    ("-READONLY", ReadOnly, _IS_REPLICA),
    ("-OOM", ReadOnly, _NO_MEMORY),
    (
        "unknown command",
        Misconfigured,
        "this server lacks a command that we need (Redis 6.2 or newer has it)",
    ),
]


def raise_translated(answer: Any) -> Any:
    """The answer itself, unless it is an error: then that is raised, translated."""
    if isinstance(answer, Exception):
        raise translate(answer) from answer
    return answer
