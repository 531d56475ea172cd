"""What the server of a flow tells of its side of a conversation, while somebody waits for a turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

from ..backends import Flow

log = logging.getLogger(__name__)

T = TypeVar("T")

TELL_SECONDS = 2.0


async def told(flow: Flow, telling: Awaitable[T], instead: T) -> T:
    """What a flow's server tells, or ``instead`` where it does not, or not within `TELL_SECONDS`.

    Args:
        flow: the flow whose server is asked.
        telling: the call that asks it.
        instead: what is taken for an answer if there is none.
    """
    try:
        async with asyncio.timeout(TELL_SECONDS):
            return await telling
    except Exception as error:  # whatever it is, it keeps no turn from being run
        log.warning("flow %s: what its server has is not known: %s", flow.id, type(error).__name__)
        return instead
