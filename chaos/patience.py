"""Waiting for something that nobody announces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(met: Callable[[], Awaitable[bool]], *, patience: float, look: float = 0.02) -> float:
    """Wait until something is so; how many seconds that took, infinity if longer than ``patience``.

    ``look`` is the time between two looks, in seconds.
    """
    begun = time.monotonic()
    while not await met():
        if time.monotonic() - begun > patience:
            return float("inf")
        await asyncio.sleep(look)
    return time.monotonic() - begun
