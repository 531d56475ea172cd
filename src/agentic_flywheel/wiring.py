"""The one place that picks concrete parts from settings."""

from __future__ import annotations

from pathlib import Path

from .backends import Flow, FlowRegistry
from .backends.python_flow import PythonFlow, load_function
from .backends.recap import RecapFlow
from .config import FlowSettings, Settings
from .errors import ConfigError, MissingExtra
from .manager import SessionManager
from .resilience import Breaker, GuardedStore, Journal, JournalledStore
from .resilience.journal import journal_path
from .stores import Store

SQLITE_FILE = "sessions.db"
JOURNAL_SHARE = 0.2  # of a call's budget, left to write into the journal what Redis did not take


def open_store(settings: Settings) -> Store:
    """The store that the settings name; nothing is opened yet.

    Raises:
        ConfigError: the URL names none.
        MissingExtra: its client library is not installed.
    """
    url = settings.store.url
    if not settings.store.enabled:
        return _memory()
    if not url:
        return _sqlite(settings.state_folder / SQLITE_FILE)
    scheme = url.partition(":")[0].lower()
    if scheme in ("redis", "rediss", "unix"):
        return _redis(url, settings.store.prefix)
    if scheme == "sqlite" and url.lower().startswith("sqlite://"):
        return _sqlite(Path(url[len("sqlite://") :]).expanduser())
    if scheme == "memory":
        return _memory()
    raise ConfigError(
        f"the store URL starts with {scheme!r}; it is redis://…, rediss://…, unix://…, sqlite://PATH or memory://"
    )


def open_guarded_store(settings: Settings) -> Store:
    """The store that the settings name, and around one that can be away what keeps callers from noticing."""
    store = open_store(settings)
    if store.name != "redis":
        return store
    budget = settings.journal.budget_ms / 1000
    if not settings.journal.enabled:
        return GuardedStore(store, Breaker(), budget=budget)
    guarded = GuardedStore(store, Breaker(), budget=budget, reserve=budget * JOURNAL_SHARE)
    path = journal_path(settings.state_folder, f"{store.where} {settings.store.prefix}")
    journal = Journal(path, limit=settings.journal.limit_bytes)
    return JournalledStore(guarded, journal, limit=settings.limits.session_bytes)


def _redis(url: str, prefix: str) -> Store:
    try:
        from .stores.redis_store import RedisStore
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise MissingExtra("keeping sessions in Redis", "redis") from error
    return RedisStore(url, prefix=prefix)


def _sqlite(path: Path) -> Store:
    from .stores.sqlite_store import SqliteStore

    return SqliteStore(path)


def _memory() -> Store:
    from .stores.memory import MemoryStore

    return MemoryStore()


def open_manager(settings: Settings) -> SessionManager:
    """The session manager that the settings describe; nothing is opened yet."""
    return SessionManager(
        open_guarded_store(settings),
        ttl=settings.ttl,
        limits=settings.limits,
        budget=settings.journal.budget_ms / 1000,
        enabled=settings.store.enabled,
    )


def open_flows(settings: Settings) -> FlowRegistry:
    """The flows that the settings describe, and the built-in ``recap``.

    Raises:
        ConfigError: a flow is described wrongly; says which.
    """
    flows = [_flow(name, flow) for name, flow in settings.flows.items()]
    return FlowRegistry([RecapFlow(), *flows], settings.default_flow)


def _flow(name: str, settings: FlowSettings) -> Flow:
    if settings.backend != "custom":
        raise ConfigError(f"flows.{name}.backend is {settings.backend!r}; this version has 'custom'")
    return PythonFlow(
        name,
        load_function(settings.target, name),
        description=settings.description,
        turns=None if settings.turns < 0 else settings.turns,
        timeout=settings.timeout,
    )
