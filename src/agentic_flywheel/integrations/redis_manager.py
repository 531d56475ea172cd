"""The session manager by the name that its specification gives it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..config import Limits, Settings, TimesToLive
from ..manager import SessionManager
from ..wiring import mask_of, open_guarded_store, open_vault


class RedisSessionManager(SessionManager):
    """Keeps sessions in Redis, or in an embedded SQLite file where no Redis is configured.

    Args:
        enabled: False keeps everything in the memory of this process only.
        ttl_seconds: how long a session is kept after its last use; 0 keeps it for ever. Default: the
            settings', 7 days.
        url: ``redis://…``, ``rediss://…``, ``redis+sentinel://…``, ``redis+cluster://…``, ``unix://…``,
            ``sqlite://PATH`` or ``memory://``; if not given,
            ``FLYWHEEL_REDIS_URL``, ``REDIS_URL`` or the settings file; without any, SQLite in the user's
            state folder.
        execution_ttl_seconds: the same as ``ttl_seconds``, for executions.
        history_ttl_seconds: the same, for the histories of flows.
        prefix: what our keys in Redis begin with.
        state_dir: where the SQLite file is kept.
        limits: the greatest sizes of turns and sessions.

    Nothing is opened before the first call.

    Raises:
        ConfigError: a setting cannot be used; says which.
        MissingExtra: a Redis is named and its client library is not installed.
    """

    def __init__(
        self,
        enabled: bool = True,
        ttl_seconds: int | None = None,
        url: str | None = None,
        *,
        execution_ttl_seconds: int | None = None,
        history_ttl_seconds: int | None = None,
        prefix: str | None = None,
        state_dir: Path | str | None = None,
        limits: Limits | None = None,
    ) -> None:
        settings = Settings.load()
        store = msgspec.structs.replace(
            settings.store,
            enabled=enabled and settings.store.enabled,
            url=url or settings.store.url,
            prefix=prefix or settings.store.prefix,
        )
        ttl = TimesToLive(
            session=settings.ttl.session if ttl_seconds is None else ttl_seconds,
            execution=settings.ttl.execution if execution_ttl_seconds is None else execution_ttl_seconds,
            history=settings.ttl.history if history_ttl_seconds is None else history_ttl_seconds,
        )
        folder = str(state_dir) if state_dir else settings.state_dir
        settings = msgspec.structs.replace(
            settings, store=store, ttl=ttl, limits=limits or settings.limits, state_dir=folder
        )
        super().__init__(
            open_guarded_store(settings),
            ttl=ttl,
            limits=settings.limits,
            budget=settings.journal.budget_ms / 1000,
            enabled=store.enabled,
            mask=mask_of(settings),
            vault=open_vault(settings),
        )
