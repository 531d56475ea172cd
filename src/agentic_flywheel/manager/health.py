"""How a store is, as `SessionManager.health` tells it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from ..errors import Misconfigured, StoreError
from ..stores import Store
from .meter import Meter
from .results import Health


async def health_of(store: Store, meter: Meter, large: Mapping[str, int], *, enabled: bool) -> Health:
    """How a store is; asks it, unless it is known to be away.

    Args:
        store: whose health it is.
        meter: what was counted and measured of its calls.
        large: the sizes of sessions that are near the limit, in bytes.
        enabled: whether anything is to be kept at all.
    """
    start = time.perf_counter()
    health = Health("ok" if enabled else "off", store.name, store.where)
    try:
        facts = await store.check()
        health = replace(health, facts=facts, latency_ms=round((time.perf_counter() - start) * 1000, 3))
    except Misconfigured as error:
        health = replace(health, state="misconfigured", error=str(error))
    except StoreError as error:
        health = replace(health, state="unavailable", error=str(error))
    measured = replace(
        health, counts=dict(meter.counts), latencies_ms=meter.latencies_ms(), large_sessions=dict(large)
    )
    return await _with_backlog(measured, store)


async def _with_backlog(health: Health, store: Store) -> Health:
    try:
        backlog = await store.backlog()
    except StoreError as error:
        return replace(health, error=f"{health.error or ''} the journal cannot be read: {error}".strip())
    if backlog is None:
        return health
    state = health.state
    if state == "ok":  # it answers; that is not to say that it takes writes
        state = "unavailable" if not backlog.available else "replaying" if backlog.pending else "ok"
    return replace(
        health,
        state=state,
        since=backlog.since,
        error=health.error or backlog.last_error,
        pending=backlog.pending,
        pending_bytes=backlog.pending_bytes,
        oldest_pending=backlog.oldest,
        refused=backlog.refused,
        breaker=backlog.breaker,
    )
