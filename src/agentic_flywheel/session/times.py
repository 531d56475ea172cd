"""Timestamps: UTC, ISO 8601, always of one width (``2025-11-18T10:00:00.000000Z``)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


def now() -> str:
    """The present moment as a timestamp."""
    second, rest = divmod(time.time_ns(), 1_000_000_000)
    return f"{_to_the_second(second)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=1)  # a question asks for the moment several times; to write a datetime takes three times as long
def _to_the_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def format_time(moment: datetime) -> str:
    """A timestamp of an aware datetime."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_time(timestamp: object) -> datetime | None:
    """The moment a timestamp names, or None where it names none; without an offset it is taken as UTC."""
    if not isinstance(timestamp, str):
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def seconds(timestamp: object) -> float:
    """Seconds since 1970 of a timestamp, 0 where it names no moment: what stores order sessions by."""
    moment = parse_time(timestamp)
    try:
        return moment.timestamp() if moment else 0.0
    except (OverflowError, ValueError):
        return 0.0
