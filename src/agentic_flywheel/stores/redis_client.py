"""The one door to the Redis client library: how we connect, and what its errors mean to us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..errors import ConfigError, Damaged, Misconfigured, ReadOnly, StoreError, Unavailable

Connection = AbstractConnection

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0


def connections(url: str) -> Callable[[], Connection]:
    """What makes connections for a URL (``redis://``, ``rediss://``, ``unix://``); each opens when it is used.

    Raises:
        ConfigError: the URL cannot be used.
    """
    try:
        pool = redis.asyncio.ConnectionPool.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,  # a whole exchange has one, ANSWER_SECONDS; the default is one for each read
            retry=Retry(NoBackoff(), 0),  # ours is in `Lane`; the default of ten with pauses takes seconds
        )
        make_connection: Callable[[], Connection] = pool.make_connection
        make_connection()  # opens nothing, and tells of options that there are not
    except (ValueError, TypeError) as error:
        # What the parser says may quote a piece of the password, and so may a traceback.
        problem = "percent-encode what is special in its password" if "@" in url else str(error)
        raise ConfigError(f"the Redis URL {without_password(url)!r} cannot be used: {problem}") from None
    return make_connection


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
    for kinds, found, advice in _MEANINGS:
        if isinstance(error, kinds):
            return found(f"{advice} ({text})")
    for word, found, advice in _ANSWERS:
        if word in text:
            return found(f"{advice} ({text})")
    return Unavailable(f"Redis answered with an error ({text})")


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
        "this Redis is part of a cluster, which cannot be used; point the URL at one that is not",
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
        "Redis did not answer in time; the write may have been applied",
    ),
    ((redis_errors.ConnectionError, OSError), Unavailable, "Redis cannot be reached"),
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
