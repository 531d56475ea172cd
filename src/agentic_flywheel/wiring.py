"""The one place that picks concrete parts from settings."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from .backends import Flow, FlowRegistry
from .backends.python_flow import PythonFlow, load_function
from .backends.recap import RecapFlow
from .backends.unready import UnreadyFlow
from .config import FlowSettings, Limits, Settings, TimesToLive
from .errors import ConfigError, FlowFailed, MissingExtra
from .manager import SessionManager, Vault
from .resilience import Breaker, GuardedStore, Journal, JournalledStore
from .resilience.journal import journal_path
from .secrecy import UNMASKED, Mask
from .stores import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .backends.base import Discovered
    from .backends.http_server import FlowServer

SQLITE_FILE = "sessions.db"
KEYS_FILE = "keys.db"
REDIS = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel"),
    *("redis+cluster", "rediss+cluster"),
)
FAILOVER_PAUSE = 0.2  # seconds between probes at the most, where another server takes over from one that is away
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
    if scheme in REDIS:
        return _redis(url, settings.store.prefix)
    if url.lower() == "sqlite://":
        raise ConfigError("the store URL names no file; it has the form sqlite:///path/sessions.db")
    if scheme == "sqlite" and url.lower().startswith("sqlite://"):
        return _sqlite(Path(url[len("sqlite://") :]).expanduser())
    if scheme == "memory":
        return _memory()
    raise ConfigError(
        f"the store URL starts with {scheme!r}; it is redis://…, rediss://…, unix://…, redis+sentinel://…, "
        "redis+cluster://…, sqlite://PATH or memory://"
    )


def open_guarded_store(settings: Settings, *, remembers: bool = True) -> Store:
    """The store that the settings name, and around one that can be away what keeps callers from noticing.

    With ``remembers`` false no local copies are kept of what it holds; what waits for it waits all the same.
    """
    store = open_store(settings)
    if store.name != "redis":
        return store
    budget = settings.journal.budget_ms / 1000
    # A failover takes a second or two: asking often, one call at a time, notices its end early.
    breaker = Breaker(longest_pause=FAILOVER_PAUSE) if _fails_over(store) else Breaker()
    if not settings.journal.enabled:
        return GuardedStore(store, breaker, budget=budget)
    guarded = GuardedStore(store, breaker, budget=budget, reserve=budget * JOURNAL_SHARE)
    path = journal_path(settings.state_folder, f"{store.where} {settings.store.prefix}")
    journal = Journal(path, limit=settings.journal.limit_bytes)
    return JournalledStore(guarded, journal, limit=settings.limits.session_bytes, remembers=remembers)


def _fails_over(store: Store) -> bool:
    return "+" in store.where.partition(":")[0]


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
        mask=mask_of(settings),
        vault=open_vault(settings),
    )


def mask_of(settings: Settings) -> Mask:
    """What the settings mask in all that is stored."""
    secrets = settings.secrets
    return Mask(secrets.names, secrets.patterns, keep=secrets.keep) if secrets.mask else UNMASKED


def open_vault(settings: Settings) -> Vault | None:
    """Where the keys of sessions are, if what is stored is to be encrypted; nothing is opened yet.

    Raises:
        ConfigError: a master key is none, or their file cannot be read.
        MissingExtra: the library that encrypts is not installed.
    """
    found = settings.encryption.master_keys
    if found is None:
        return None
    from .secrecy.sealing import MasterKeys

    store = open_guarded_store(of_keys(settings), remembers=False)
    budget = settings.journal.budget_ms / 1000
    limits = Limits(sessions=sys.maxsize)  # keys outlast their sessions, whose number is limited
    rings = SessionManager(store, ttl=TimesToLive(session=0), limits=limits, budget=budget, mask=UNMASKED)
    return Vault(MasterKeys.of_text(*found), rings)


def longest_kept(settings: Settings) -> int:
    """Seconds that something may be kept that a session leaves behind, by any flow; 0: for ever."""
    kept = [settings.ttl.execution, settings.ttl.history]
    for flow in settings.flows.values():
        kept += [seconds for seconds in (flow.ttl.execution, flow.ttl.history) if seconds is not None]
    return max(kept) if all(kept) else 0


def of_keys(settings: Settings) -> Settings:
    """The settings of the store in which the keys of sessions are kept."""
    store, url = settings.store, settings.encryption.keys_url
    if url is None and not store.url:
        url = f"sqlite://{settings.state_folder / KEYS_FILE}"
    elif url is None and store.url and store.url.lower().startswith("sqlite://"):
        url = f"{store.url}.keys"
    return replace(settings, store=replace(store, url=url or store.url, prefix=f"{store.prefix}:keys"))


def open_flows(settings: Settings) -> FlowRegistry:
    """The flows that the settings describe, and the built-in ``recap``; no server is asked yet.

    A flow whose server cannot be used, since its key is not there, is among them, and says so when it is asked.

    Raises:
        ConfigError: a function cannot be imported; says which.
        MissingExtra: a flow runs on a server, and the HTTP client is not installed.
    """
    named = {flow.server for flow in settings.flows.values() if flow.server}
    servers = {name: _server_or_problem(settings, name) for name in sorted(named)}
    flows = [_flow(name, flow, settings, servers) for name, flow in settings.flows.items()]
    return FlowRegistry([RecapFlow(), *flows], settings.default_flow)


def _flow(
    name: str, flow: FlowSettings, settings: Settings, servers: Mapping[str, FlowServer | ConfigError]
) -> Flow:
    options = {
        "description": flow.description,
        "keywords": flow.keywords,
        "timeout": flow.timeout,
        "idempotent": flow.idempotent,
        "replay_turns": flow.replay_turns,
        "replay_bytes": flow.replay_bytes,
    }
    made: Flow
    if flow.server is None:
        seen = {} if flow.turns is None else {"turns": None if flow.turns < 0 else flow.turns}
        made = PythonFlow(name, load_function(flow.target, name), **seen, **options)
    elif isinstance(server := servers[flow.server], ConfigError):
        made = UnreadyFlow(name, settings.backend_of(flow), str(server), **options)
    else:
        made = _flow_on_server(name, flow, server, settings.backend_of(flow), options)
    made.execution_ttl, made.history_ttl = flow.ttl.execution, flow.ttl.history
    return made


def _flow_on_server(
    name: str, flow: FlowSettings, server: FlowServer, backend: str, options: Mapping[str, Any]
) -> Flow:
    there, more = flow.flow or name, {"stream": flow.stream, "parameters": flow.parameters, **options}
    if backend == "langflow":
        from .backends.langflow import LangflowFlow

        return LangflowFlow(name, server, there, api="workflow" if flow.api == "workflow" else "run", **more)
    from .backends.flowise import FlowiseFlow

    return FlowiseFlow(name, server, there, **more)


def _server_or_problem(settings: Settings, name: str) -> FlowServer | ConfigError:
    try:
        return _server(settings, name)
    except ConfigError as error:
        return error


def _server(settings: Settings, name: str) -> FlowServer:
    """The server of that name.

    Raises:
        ConfigError: its key is not there, or cannot be used.
        MissingExtra: the HTTP client is not installed.
    """
    try:
        from .backends.http_server import FlowServer
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("httpx2", "httpcore2"):
            raise
        raise MissingExtra("asking flows on a server", "flows") from error
    server = settings.servers[name]
    if server.key_env and not server.key:
        raise ConfigError(
            f"the environment variable {server.key_env}, which servers.{name}.key_env names, is not set; set it "
            "where flywheel runs"
        )
    return FlowServer(name, server.url, key=server.key, ca_file=server.ca_file, verify=server.verify)


async def discover(settings: Settings, name: str, *, seconds: float = 10.0) -> list[Discovered]:
    """The flows that a server of the settings has; asks it, and waits so many seconds for the answer.

    Raises:
        ConfigError: its key is not there, or cannot be used.
        FlowFailed: it cannot be asked, or does not answer; says why.
        MissingExtra: the HTTP client is not installed.
    """
    server = _server(settings, name)
    try:
        async with asyncio.timeout(seconds):
            return await _ask_for_flows(server, settings.servers[name].backend)
    except TimeoutError as error:
        raise FlowFailed(f"server {name!r} at {server.url} did not answer within {seconds:g} s") from error
    finally:
        await server.close()


async def _ask_for_flows(server: FlowServer, backend: str) -> list[Discovered]:
    if backend == "langflow":
        from .backends import langflow

        return await langflow.discover(server)
    from .backends import flowise

    return await flowise.discover(server)
