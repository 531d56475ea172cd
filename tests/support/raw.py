"""Looking at Redis without our own code."""

import redis.asyncio


async def bytes_at(client: redis.asyncio.Redis, key: str) -> bytes:
    """The string under a key, which must be there."""
    data = await client.get(key)
    assert isinstance(data, bytes)
    return data
