"""What ``flywheel doctor`` looks at: what answers, how fast, and what would be lost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from ..backends.unready import UnreadyFlow
from ..errors import FlywheelError, MissingExtra, StoreError
from ..session import UniversalSession
from ..wiring import open_flows, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..backends import Flow
    from ..config import ServerSettings, Settings
    from ..manager import Health, SessionManager

Level = Literal["ok", "note", "problem"]

LOOKED_AT = 1000  # of the sessions used last, for their sizes
THROWAWAY_SECONDS = 60
"""How long the session of the round trip lives if we are killed before we delete it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``advice`` says in a line what to do, where something is to be done."""

    level: Level
    about: str
    says: str
    advice: str | None = None


async def examine_store(sessions: SessionManager) -> list[Finding]:
    """Whether the store answers, whether it keeps what it is given, and what it would lose."""
    await sessions.health()  # opens the connection, which is not to be measured
    health = await sessions.health()
    if health.state in _AWAY:
        return [Finding("problem", "store", health.error or health.state, _AWAY[health.state]), *_waiting(health)]
    about = " ".join(f"{name}={value}" for name, value in health.facts.items())
    answers = Finding("ok", "store", f"{health.where} answers in {health.latency_ms} ms ({about})")
    losses = _losses(health.store, health.facts)
    return [answers, await _round_trip(sessions), *_waiting(health), *losses, *await _sizes(sessions)]


_AWAY = {
    "unavailable": "start the store, or correct store.url; until then there is only what this machine knows",
    "misconfigured": "set that right, and run this again",
}


def examine_secrecy(sessions: SessionManager, settings: Settings) -> list[Finding]:
    """What is masked and encrypted; names master keys by their ids only."""
    found = [Finding("ok", "masking", "what looks like a credential is not stored")]
    if not settings.secrets.mask:
        found = [
            Finding("note", "masking", "is off: credentials are stored as they are", "set secrets.mask to true")
        ]
    vault = sessions.forms.vault
    if vault is None:
        return [*found, Finding("ok", "encryption", "is off: there is no master key")]
    first, *others = vault.masters.names
    opened = f"; {', '.join(others)} open what they wrapped" if others else ""
    says = f"master key {first} wraps the keys of sessions, in {vault.rings.store.where}{opened}"
    return [*found, Finding("ok", "encryption", says)]


def _waiting(health: Health) -> list[Finding]:
    """What waits in the journal, and what was refused."""
    if health.since is None:
        return []
    found = [Finding("ok", "journal", "nothing waits")]
    if health.pending:
        since = datetime.fromtimestamp(health.oldest_pending or 0, UTC).isoformat(timespec="seconds")
        says = f"{health.pending} entries wait ({health.pending_bytes:,} bytes), the oldest since {since}"
        found = [Finding("note", "journal", says, "they are replayed by themselves; now: flywheel journal replay")]
    if health.refused:
        says = f"{health.refused} entries were refused by the store and are kept"
        found.append(Finding("problem", "journal", says, "see why: flywheel journal list"))
    return found


async def _sizes(sessions: SessionManager) -> list[Finding]:
    """Sessions near the limit, among those used last."""
    limit = sessions.limits.session_bytes
    return [
        Finding(
            "note",
            "size",
            f"session {summary.id} has {summary.size:,} of at most {limit:,} bytes",
            "go on in a fork with its last turns: fork_session(…, last=20)",
        )
        for summary in await sessions.list_sessions(LOOKED_AT)
        if summary.size >= sessions.limits.warn_bytes
    ]


async def _round_trip(sessions: SessionManager) -> Finding:
    """Save a session, load it, delete it."""
    session = UniversalSession(backend="doctor")
    session.ttl_seconds = THROWAWAY_SECONDS
    start = time.perf_counter()
    saved = await sessions.save_session(session)
    loaded = await sessions.load(session.id)
    milliseconds = round((time.perf_counter() - start) * 1000, 2)
    if saved.outcome == "refused" or loaded.session != session:
        reason = saved.reason or loaded.reason or "it came back as another one"
        return Finding("problem", "round trip", reason, "nothing can be saved until this is solved")
    try:
        await sessions.delete_session(session.id)
    except StoreError as error:
        return Finding("problem", "round trip", f"saved and loaded, but not deleted: {error}")
    if saved.outcome == "journalled":
        health = await sessions.health()  # which now tells why
        says = f"the store took no session, it waits in the journal: {health.error or 'no reason is known'}"
        return Finding("problem", "round trip", says, "nothing reaches the store until this is solved")
    return Finding("ok", "round trip", f"a session was saved and loaded in {milliseconds} ms, and deleted")


def _losses(store: str, facts: Mapping[str, Any]) -> list[Finding]:
    if store == "redis":
        return [_eviction(facts), _persistence(facts)]
    if store == "memory":
        advice = "give store.url, or let store.enabled be true, to keep them"
        return [Finding("note", "durability", "sessions are in memory only and end with each process", advice)]
    size = f"{facts.get('file_bytes', 0):,} bytes"
    return [Finding("ok", "durability", f"one SQLite file of {size}; it survives the death of any process")]


def _eviction(facts: Mapping[str, Any]) -> Finding:
    policy = str(facts.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Finding("ok", "eviction", "a full Redis refuses writes and forgets nothing (noeviction)")
    advice = "set maxmemory-policy to noeviction"
    if policy.startswith("allkeys"):
        return Finding("problem", "eviction", f"a full Redis throws sessions away ({policy})", advice)
    says = f"a full Redis may throw away sessions, as they have a time to live ({policy})"
    return Finding("note", "eviction", says, advice)


def _persistence(facts: Mapping[str, Any]) -> Finding:
    if facts.get("aof_enabled"):
        return Finding("ok", "durability", "Redis writes an append-only file")
    if "save" not in facts:
        says = "Redis writes no append-only file, and does not tell whether it takes snapshots"
        return Finding("note", "durability", says, "set appendonly yes, to lose nothing in a restart")
    if facts["save"]:
        says = "Redis takes snapshots only: a crash loses what came after the last one"
        return Finding("note", "durability", says, "set appendonly yes, to lose nothing in a restart")
    says = "Redis keeps nothing on disk: a restart loses every session"
    return Finding("problem", "durability", says, "set appendonly yes")


def examine_flows(settings: Settings) -> list[Finding]:
    """Whether the flows can be used as they are described; asks no server."""
    try:
        flows = open_flows(settings)
        flows.get(flows.default)
    except MissingExtra as error:
        return [Finding("problem", "flows", str(error))]
    except FlywheelError as error:
        return [Finding("problem", "flows", str(error), "correct flywheel.toml")]
    found = [Finding("ok", "flows", ", ".join(f"{flow.id} ({flow.backend})" for flow in flows))]
    on_servers = [(flows.get(name), flow.server) for name, flow in settings.flows.items() if flow.server]
    return found + [_on_server(flow, name, settings.servers[name]) for flow, name in on_servers]


def _on_server(flow: Flow, name: str, server: ServerSettings) -> Finding:
    """Whether a flow's server can be used, as far as this machine can say: whether its key is there."""
    if isinstance(flow, UnreadyFlow):
        return Finding("problem", f"flow {flow.id}", flow.lacks)
    key = f"{server.key_env} is set" if server.key_env else "no key"
    return Finding("ok", f"flow {flow.id}", f"on server {name} at {server.url}, {key}")


def examine_extras() -> list[Finding]:
    """Which optional packages are there."""
    found = []
    for module, extra, what in (
        ("redis", "redis", "sessions in Redis"),
        ("mcp", "mcp", "the MCP server and the demo"),
        ("httpx2", "flows", "flows on a server (Flowise, Langflow)"),
        ("cryptography", "encryption", "encryption at rest"),
    ):
        if find_spec(module):
            found.append(Finding("ok", f"extra {extra}", f"installed, for {what}"))
        else:
            advice = f"pip install 'agentic-flywheel[{extra}]'"
            found.append(Finding("note", f"extra {extra}", f"not installed; needed for {what}", advice))
    return found


def where_of(settings: Settings) -> str:
    """The store as it may be shown.

    Raises:
        ConfigError, MissingExtra: it cannot be opened.
    """
    return open_store(settings).where
