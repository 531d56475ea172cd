"""Every byte that is kept of sessions, wherever it lies, to be searched for what must not be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis.asyncio


def in_files(folder: Path) -> bytes:
    """What all files of a folder hold: databases, their logs beside them, journals."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def in_redis(url: str, prefix: str = "") -> bytes:
    """What all keys of a database hold that begin so, and their names."""
    found = []
    async with redis.asyncio.Redis.from_url(url) as client:
        async for key in client.scan_iter(f"{prefix}*", count=1000):
            found += [key, *await _parts(client, key)]
    return b"\n".join(found)


async def _parts(client: Any, key: bytes) -> list[bytes]:
    kind = await client.type(key)
    match kind:
        case b"string":
            return [await client.get(key) or b""]
        case b"list":
            return list(await client.lrange(key, 0, -1))
        case b"hash":
            return [part for pair in (await client.hgetall(key)).items() for part in pair]
        case b"zset":
            return list(await client.zrange(key, 0, -1))
        case _:
            raise AssertionError(f"nobody looks into a {kind!r}")
