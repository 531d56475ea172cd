"""What a Redis says of itself: its version, its memory, and what it would keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import StoreError
from .redis_pipe import Carrier

WANTED = (
    "redis_version",
    "valkey_version",
    "maxmemory_policy",
    "maxmemory",
    "used_memory",
    "aof_enabled",
)


async def facts_of(server: Carrier) -> dict[str, object]:
    """The facts of one server.

    Raises:
        Unavailable, Misconfigured: it does not answer, or refuses us.
    """
    await server.one("PING")
    facts = _parse(await server.one("INFO"))
    return {name: facts[name] for name in WANTED if name in facts} | await _save_points(server)


def together(servers: Sequence[dict[str, object]]) -> dict[str, object]:
    """The facts of several servers as one: of memory the sum, of what they keep what the worst of them keeps."""
    names = dict.fromkeys(name for facts in servers for name in facts)
    return {name: _TOGETHER.get(name, _each)([f[name] for f in servers if name in f]) for name in names}


def _each(values: list[Any]) -> Any:
    """The value, or where they differ all of them."""
    return values[0] if len(set(values)) == 1 else ", ".join(sorted({str(value) for value in values}))


_TOGETHER: dict[str, Callable[[list[Any]], Any]] = {
    "maxmemory": sum,
    "used_memory": sum,
    "aof_enabled": min,
    "save": min,  # none is an empty text
}


def _parse(info: bytes) -> dict[str, object]:
    """What INFO says; what looks like a number is one."""
    pairs = [line.partition(":") for line in info.decode(errors="replace").splitlines()]
    return {name: int(value) if value.isdigit() else value for name, colon, value in pairs if colon}


async def _save_points(server: Carrier) -> dict[str, object]:
    """When Redis writes snapshots, as it is configured (empty: never); nothing where we may not ask."""
    try:
        answer = await server.one("CONFIG", "GET", "save")
    except StoreError:  # managed servers and careful ACLs refuse CONFIG
        return {}
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}
