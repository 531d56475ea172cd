"""What is kept beside sessions: executions, the histories of flows, shares."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..errors import Damaged, StoreError
from ..jsontext import decode, encode
from . import redis_scripts as scripts
from .base import Record
from .history_entries import newest_of_each
from .redis_client import raise_translated
from .redis_keys import Keys
from .redis_lane import Command
from .redis_pipe import Carrier

log = logging.getLogger(__name__)


class RedisRecords:
    """Keeps each as a document of its own; the entries of a history in one, which the server appends to."""

    def __init__(self, pipe: Carrier, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    def command(self, record: Record) -> Command:
        """What stores a record."""
        if record.kind == "history":
            key = self._keys.history(record.session_id, record.flow_id)
            return scripts.ENTRY.on(key, record.data, record.ttl)
        key = self._keys.share(record.id) if record.kind == "share" else self._keys.execution(record.id)
        return ("SET", key, record.data, *expiry(record.ttl))

    async def heed(self, records: Sequence[Record], answers: Sequence[Any]) -> None:
        """Mend a history that somebody else wrote; say which record was not stored.

        The session is the truth and does not fail with them.
        """
        for record, answer in zip(records, answers, strict=False):
            try:
                await self._mend(record, answer)
            except StoreError as error:
                log.warning("%s %s was not stored: %s", record.kind, record.id, error)

    async def _mend(self, record: Record, answer: Any) -> None:
        if raise_translated(answer) == [b"foreign"]:
            await self._rewrite_history(record)

    async def _rewrite_history(self, record: Record) -> None:
        """Write a history that is not in our layout anew, with the entry at its end."""
        key = self._keys.history(record.session_id, record.flow_id)
        try:
            entries = _entries(await self._pipe.one("GET", key))
        except Damaged as error:
            log.warning("the history at %s was left alone: %s", key, error)
            return
        history = b"[\n" + b",\n".join([*entries, record.data]) + b"\n]"
        await self._pipe.one("SET", key, history, *expiry(record.ttl))

    async def put(self, records: Sequence[Record]) -> bool:
        answers = await self._pipe.run([self.command(record) for record in records])
        for record, answer in zip(records, answers, strict=True):
            await self._mend(record, answer)
        return True

    async def execution(self, execution_id: str) -> bytes | None:
        return await self._get(self._keys.execution(execution_id))

    async def share(self, name: str) -> bytes | None:
        return await self._get(self._keys.share(name)) or None

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        raw = await self._get(self._keys.history(session_id, flow_id))
        return newest_of_each(_entries(raw)) if raw else []

    async def _get(self, key: str) -> bytes | None:
        data: bytes | None = await self._pipe.one("GET", key)
        if data is None:
            await self._pipe.one(*scripts.TOUCH.on(key, 0))  # a replica, which may lag behind, does not say absent
        return data


def expiry(ttl: int) -> Command:
    """What says in a SET how long a value is kept, in seconds; 0 keeps for ever."""
    return ("EX", ttl) if ttl else ()


def _entries(raw: bytes) -> list[bytes]:
    """The entries of a history, whoever wrote it."""
    try:
        entries = decode(raw)
    except ValueError as error:
        raise Damaged(f"is not a flow history: {error}") from error
    if not isinstance(entries, list):
        raise Damaged("is not a flow history: no JSON array")
    return [encode(entry) for entry in entries]
