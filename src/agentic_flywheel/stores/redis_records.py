"""What is kept beside sessions: executions, the histories of flows, shares."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..errors import Damaged, StoreError
from ..jsontext import decode, encode
from . import redis_scripts as scripts
from . import redis_watch
from .base import Record
from .history_entries import newest_of_each
from .redis_client import raise_translated
from .redis_keys import Keys
from .redis_lane import Command
from .redis_pieces import read_any
from .redis_pipe import Carrier

log = logging.getLogger(__name__)

_END = b"}\n]"  # of a history in our layout
_WINDOW = 2048  # bytes before the last entry that may be the one that is added


class RedisRecords:
    """Keeps each as a document of its own; the entries of a history in one, which the server appends to."""

    def __init__(self, pipe: Carrier, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    def commands(self, records: Sequence[Record]) -> list[Command]:
        """What stores records; where one is too large for a script, `heed` adds the entries of histories."""
        is_large = any(len(record.data) >= redis_watch.LARGE for record in records)
        return [self._command(record, is_large=is_large) for record in records]

    def _command(self, record: Record, *, is_large: bool) -> Command:
        if record.kind == "history":
            key = self._keys.history(record.session_id, record.flow_id)
            return ("STRLEN", key) if is_large else scripts.ENTRY.on(key, record.data, record.ttl)
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
        if raise_translated(answer) == [b"stored"] or record.kind != "history":
            return
        key = self._keys.history(record.session_id, record.flow_id)
        try:
            await self._add(key, record)
        except Damaged as error:
            log.warning("the history at %s was left alone: %s", key, error)

    async def _add(self, key: str, record: Record) -> None:
        """Add an entry to a history that is not in our layout, or that no script is to be handed."""
        async with self._pipe.watching(key) as watcher:
            done = False
            while not done:
                window = ("GETRANGE", key, -len(record.data) - _WINDOW, -1)
                size, end = await watcher.watch(key, ("STRLEN", key), window)
                if not end.endswith(_END):
                    known = _entries(await watcher.ask("GET", key)) if size else []
                    history = b"[\n" + b",\n".join([*known, record.data]) + b"\n]"
                    done = await watcher.write(("SET", key, history, *expiry(record.ttl)))
                elif b"\n" + record.data in end:
                    done = await watcher.write(lifetime(key, record.ttl))
                else:
                    added: Command = ("SETRANGE", key, size - len(b"\n]"), b",\n" + record.data + b"\n]")
                    done = await watcher.write(added, lifetime(key, record.ttl))

    async def put(self, records: Sequence[Record]) -> bool:
        answers = await self._pipe.run(self.commands(records))
        for record, answer in zip(records, answers, strict=True):
            await self._mend(record, answer)
        return True

    async def keep(self, records: Sequence[Record]) -> None:
        """Store what is kept beside a session, as `heed` does."""
        await self.heed(records, await self._pipe.run(self.commands(records)))

    async def execution(self, execution_id: str) -> bytes | None:
        return await self._get(self._keys.execution(execution_id))

    async def share(self, name: str) -> bytes | None:
        return await self._get(self._keys.share(name)) or None

    async def entries(self, session_id: str, flow_id: str) -> list[bytes]:
        raw = await self._get(self._keys.history(session_id, flow_id))
        return newest_of_each(_entries(raw)) if raw else []

    async def _get(self, key: str) -> bytes | None:
        data = await read_any(self._pipe, key)
        if data:
            return data
        size, _ = await self._pipe.one(*scripts.TOUCH.on(key, 0))  # a replica, which may lag behind, does not say
        return data if size >= 0 else None


def expiry(ttl: int) -> Command:
    """What says in a SET how long a value is kept, in seconds; 0 keeps for ever."""
    return ("EX", ttl) if ttl else ()


def lifetime(key: str, ttl: int) -> Command:
    """What begins the time to live of a value again, in seconds; 0 keeps for ever."""
    return ("EXPIRE", key, ttl) if ttl else ("PERSIST", key)


def _entries(raw: bytes) -> list[bytes]:
    """The entries of a history, whoever wrote it."""
    try:
        entries = decode(raw)
    except ValueError as error:
        raise Damaged(f"is not a flow history: {error}") from error
    if not isinstance(entries, list):
        raise Damaged("is not a flow history: no JSON array")
    return [encode(entry) for entry in entries]
