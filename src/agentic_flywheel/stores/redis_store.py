"""Sessions in Redis, Valkey or anything that speaks like them; no module needed, 6.2 or newer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ..errors import Conflict, Damaged, Deleted, Fenced, ReadOnly, StoreError
from ..jsontext import decode, encode
from ..session.times import seconds
from . import redis_layout as layout
from . import redis_scripts as scripts
from .base import Change, Claim, Grant, Listed, Mark, Record, Stored
from .history_entries import newest_of_each
from .names import name_of, parts_of
from .redis_client import raise_translated
from .redis_lane import Command
from .redis_pieces import PIECE, read_rest
from .redis_upkeep import PAGE, RedisUpkeep
from .writing import too_large

log = logging.getLogger(__name__)

FIRST_LOOK = 4096  # bytes read of a session for a listing; most heads fit
SPARE = 1024  # bytes that are read of a session's end beyond what its turns are thought to take
LARGE = 256 * 1024  # bytes of a document that is not handed to a script
WRITTEN_SECONDS = 60  # that it may lie there, if nobody puts it in its place
CLAIM_KEPT_SECONDS = 7 * 24 * 3600


class RedisStore(RedisUpkeep):
    """Keeps each session as one JSON document that the server appends to; see `redis_layout`."""

    def __init__(self, url: str, *, prefix: str = "agentic_flywheel") -> None:
        super().__init__(url, prefix=prefix)
        self._turn_size = 2048.0  # bytes; what turns took lately

    async def read(
        self, session_id: str, *, last: int | None = None, after: int | None = None, touch: bool = True
    ) -> Stored | None:
        key = self._keys.session(session_id)
        try:
            if last is None and after is None:
                return await self._read_whole(key, touch=touch)
            return await self._read_end(key, last, after, touch=touch)
        except ReadOnly:  # to start its time again is a write; what is stored can be read all the same
            if not touch:
                raise
            return await self.read(session_id, last=last, after=after, touch=False)

    async def _read_whole(self, key: str, *, touch: bool) -> Stored | None:
        first: Command = ("GETRANGE", key, 0, PIECE - 1)  # by itself: out of a script it would take twice as long
        raw, (size, _) = await self._pipe.all([first, scripts.TOUCH.on(key, int(touch))])
        if size < 0:
            return None
        if len(raw) == PIECE:  # a shorter one is whole, however much others have appended since it was read
            raw = await read_rest(self._pipe, key, raw, size) or await self._pipe.one("GET", key)
        return layout.parse(raw) if raw is not None else None

    async def _read_end(self, key: str, last: int | None, after: int | None, *, touch: bool) -> Stored | None:
        if last is not None and after is None:
            stored = await self._guess_end(key, last, touch=touch)
            if stored is not None:
                return stored
        wanted = (-1 if last is None else last, -1 if after is None else after, int(touch))
        return _read(await self._pipe.one(*scripts.READ.on(key, *wanted)), last, after)

    async def _guess_end(self, key: str, last: int, *, touch: bool) -> Stored | None:
        """The session with its newest turns, from as many bytes as they took lately; None if those do not tell.

        The script always tells, in one step, and takes the server four times as long.
        """
        start: Command = ("GETRANGE", key, 0, FIRST_LOOK - 1)
        end: Command = ("GETRANGE", key, -int(last * self._turn_size * 1.25) - SPARE, -1)
        head, tail, (_, version) = await self._pipe.all([start, end, scripts.TOUCH.on(key, int(touch))])
        stored = layout.parse_end(head, tail, last, version.decode())
        if stored is not None and stored.lines:
            self._turn_size += (sum(map(len, stored.lines)) / len(stored.lines) - self._turn_size) / 4
        return stored

    async def write(self, change: Change, *, limit: int) -> Mark:
        key = self._keys.session(change.session_id)
        beside = [self._record(record) for record in change.records]
        if change.base is None or change.history is not None:
            return await self._replace(change, key, beside, limit)
        lags = self._index.lags(change.session_id, change.last_active)
        if lags:
            beside.append(self._index.put(change.session_id, change.last_active))
        append = scripts.APPEND.on(key, *_append_arguments(change, change.base, limit))
        answers = await self._pipe.run([*beside, append, *self._finishing(change)])
        others, answer, finished = answers[: len(beside)], answers[len(beside)], answers[len(beside) + 1 :]
        await self._heed(change.records, others)
        if lags and not isinstance(others[-1], Exception):
            self._index.was_put(change.session_id, change.last_active)
        match raise_translated(answer):
            case [b"stored", revision, total, epoch, size]:
                await self._finish(change, finished)
                return Mark(change.version, epoch.decode(), revision, total, size=size)
            case [b"full", size]:
                raise too_large(change.session_id, size, limit)
            case [b"fenced"]:
                raise Fenced(change.session_id)
            case [found]:
                raise Conflict(change.session_id, found.decode())
            case unexpected:
                raise StoreError(f"the append script answered {unexpected!r}")

    async def _replace(self, change: Change, key: str, beside: list[Command], limit: int) -> Mark:
        lines = change.added if change.history is None else change.history
        revision = change.base.revision + 1 if change.base else 1
        mark = Mark(change.version, change.epoch or change.version, revision, len(lines))
        document = layout.compose(mark, change.head, change.last_active, lines, change.ttl, change.fence)
        if len(document) > limit:
            raise too_large(change.session_id, len(document), limit)
        *writing, replace = self._replacing(change, key, document)
        # The index names what is there already: else who looks for what has expired would take it out again.
        listed = self._index.put(change.session_id, change.last_active)
        tombstone: Command = ("GET", self._keys.tombstone(change.session_id))
        stages = [[*beside, *writing], [replace]] if writing else [[*beside, replace]]
        *others, answer, _, buried = await self._pipe.steps(*stages, [listed, tombstone])
        for written in others[len(beside) :]:
            raise_translated(written)
        await self._heed(change.records, others)
        match raise_translated(answer):
            case [b"stored", stored_revision, total, epoch]:
                await self._stay_deleted(change, raise_translated(buried))
                if change.base is None:
                    self.sweeper.created(parts_of(change.session_id)[0])
                await self._finish(change, [])
                return Mark(change.version, epoch.decode(), stored_revision, total, size=len(document))
            case [b"fenced"]:
                raise Fenced(change.session_id)
            case [found]:
                raise Conflict(change.session_id, found.decode())
            case unexpected:
                raise StoreError(f"the replace script answered {unexpected!r}")

    def _replacing(self, change: Change, key: str, document: bytes) -> list[Command]:
        """What puts a document in the place of a session; a large one in two steps, so that nobody waits for it.

        A script would copy it three times, and Redis serves nobody meanwhile: for a second, with some hundred MB.
        """
        seen = change.base.version if change.base else ""
        arguments = (change.ttl, change.fence)
        if len(document) < LARGE:
            return [scripts.REPLACE.on(key, seen, change.version, document, *arguments)]
        beside = self._keys.written(change.session_id, change.version)
        return [
            ("SET", beside, document, "EX", WRITTEN_SECONDS),
            scripts.REPLACE.on_both(key, beside, seen, change.version, "", *arguments),
        ]

    def _finishing(self, change: Change) -> list[Command]:
        """What gives up, in the same round trip, the claim of a turn that ends with a change."""
        if change.releases is None or not self._pipe.is_one_server:
            return []
        keys = self._keys.session(change.session_id), self._keys.claim(change.session_id)
        return [scripts.FINISH.on_both(*keys, change.version, encode(change.releases))]

    async def _finish(self, change: Change, answers: Sequence[Any]) -> None:
        """Give the claim up now where it was not; the change is stored and does not fail with that."""
        if change.releases is not None and list(answers) != [1]:
            try:
                await self.release(change.session_id, change.releases)
            except StoreError as error:
                log.warning("the claim of turn %s ends by itself: %s", change.releases, type(error).__name__)

    async def _stay_deleted(self, change: Change, buried: bytes | None) -> None:
        """Take back a session that was created although it was deleted since it began.

        The deletion notes itself before it deletes, and we look for the note after we wrote: whichever
        came first, one of the two removes the session.
        """
        if change.base is None and buried is not None and seconds(buried.decode()) >= seconds(change.created_at):
            await self._pipe.one("DEL", self._keys.session(change.session_id))
            await self._pipe.one(*self._index.remove(change.session_id))
            raise Deleted(f"the session was deleted at {buried.decode()}")

    def _record(self, record: Record) -> Command:
        if record.kind == "history":
            key = self._keys.history(record.session_id, record.flow_id)
            return scripts.ENTRY.on(key, record.data, record.ttl)
        key = self._keys.share(record.id) if record.kind == "share" else self._keys.execution(record.id)
        return ("SET", key, record.data, *_expiry(record.ttl))

    async def _heed(self, records: Sequence[Record], answers: Sequence[Any]) -> None:
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
        await self._pipe.one("SET", key, history, *_expiry(record.ttl))

    async def delete(self, session_id: str, *, deleted_at: str, ttl: int) -> bool:
        noted: Command = ("SET", self._keys.tombstone(session_id), deleted_at, *_expiry(ttl))
        deleted: Command = ("DEL", self._keys.session(session_id))
        unlisted = self._index.remove(session_id)
        answers = await self._pipe.steps([noted], [deleted, unlisted])
        return bool([raise_translated(answer) for answer in answers][1])

    async def recent(self, limit: int, owner: str = "") -> list[Listed]:
        found: list[Listed] = []
        place = 0
        while len(found) < limit:
            members = await self._pipe.one(*self._index.page(owner, place, PAGE))
            if not members:
                break
            listed, gone = await self._listed([name_of(owner, member.decode()) for member in members])
            found += listed
            if gone:  # expired, or removed by others: the index mends itself
                await self._pipe.one(*self._index.remove(*gone))
            place += len(members) - len(gone)
        found.sort(key=lambda listed: seconds(listed.last_active), reverse=True)  # the index is exact to a second
        return found[:limit]

    async def count(self, owner: str, enough: int) -> int:
        number: int = await self._pipe.one("ZCARD", self._index.key(owner))
        if number >= enough:  # what has expired is still in the index
            number -= await self.sweeper.sweep(owner, await self._pipe.one(*self._index.page(owner, 0, number)))
        return number

    async def _listed(self, session_ids: list[str]) -> tuple[list[Listed], list[str]]:
        """Those that are there, and the ids of those that are not."""
        keys = [self._keys.session(session_id) for session_id in session_ids]
        answers = await self._pipe.run(
            [command for key in keys for command in (("GETRANGE", key, 0, FIRST_LOOK - 1), ("STRLEN", key))]
        )
        listed, gone = [], []
        for session_id, start, size in zip(session_ids, answers[::2], answers[1::2], strict=True):
            if start == b"":
                gone.append(session_id)
                continue
            try:
                stored = await self._without_turns(session_id, raise_translated(start))
            except Damaged:
                continue
            if stored is not None:
                listed.append(Listed(session_id, stored.head, stored.last_active, stored.mark.total, size))
        return listed, gone

    async def _without_turns(self, session_id: str, start: bytes) -> Stored | None:
        if layout.holds_head(start):
            return layout.parse_tail(start, b"")
        return await self.read(session_id, last=0, touch=False)

    async def put(self, records: Sequence[Record]) -> bool:
        answers = await self._pipe.run([self._record(record) for record in records])
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

    async def claim(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, instead: str | None = None
    ) -> Grant:
        return _grant(await self._pipe.one(*self._claiming(session_id, turn_id, note, seconds, instead)))

    async def claim_and_read(
        self, session_id: str, turn_id: str, note: bytes, *, seconds: float, last: int | None = None
    ) -> tuple[Grant, Stored | None]:
        if last is None:  # a whole one is not read by a script
            return await super().claim_and_read(session_id, turn_id, note, seconds=seconds)
        claim = self._claiming(session_id, turn_id, note, seconds, None)
        read = scripts.READ.on(self._keys.session(session_id), last, -1, 1)
        granted, found = [raise_translated(answer) for answer in await self._pipe.steps([claim], [read])]
        return _grant(granted), _read(found, last, None)

    def _claiming(self, session_id: str, turn_id: str, note: bytes, seconds: float, instead: str | None) -> Command:
        arguments = (encode(turn_id), note, str(seconds), encode(instead), CLAIM_KEPT_SECONDS)
        return scripts.CLAIM.on(self._keys.claim(session_id), *arguments)

    async def fence(self, session_id: str, fence: int) -> None:
        await self._pipe.one(*scripts.FENCE.on(self._keys.session(session_id), fence))

    async def claimed(self, session_id: str) -> Claim | None:
        found, (now, _) = [
            raise_translated(answer)
            for answer in await self._pipe.run([("GET", self._keys.claim(session_id)), ("TIME",)])
        ]
        claim = _claim(found, ended=False) if found else None
        return replace(claim, ended=claim.until <= int(now)) if claim else None

    async def release(self, session_id: str, turn_id: str) -> None:
        await self._pipe.one(*scripts.RELEASE.on(self._keys.claim(session_id), encode(turn_id)))


def _append_arguments(change: Change, base: Mark, limit: int) -> tuple[scripts.Argument, ...]:
    rest = layout.rest_of(change.head)
    return (
        base.version,
        change.version,
        layout.slot(rest, change.last_active),
        b"" if change.head == change.base_head else rest,
        layout.block_for(len(rest)),
        b",\n".join(change.added),
        len(change.added),
        change.ttl,
        limit,
        change.fence,
    )


def _expiry(ttl: int) -> Command:
    return ("EX", ttl) if ttl else ()


def _read(answer: Any, last: int | None, after: int | None) -> Stored | None:
    match answer:
        case []:
            return None
        case [raw]:
            return layout.parse(raw).cut(last, after)
        case [start, lines]:
            return layout.parse_tail(start, lines)
        case unexpected:
            raise StoreError(f"the read script answered {unexpected!r}")


def _grant(answer: Any) -> Grant:
    match answer:
        case [fence]:
            return Grant(fence)
        case [fence, found]:
            return Grant(fence, _claim(found, ended=fence > 0))
        case unexpected:
            raise StoreError(f"the claim script answered {unexpected!r}")


def _claim(raw: bytes, *, ended: bool) -> Claim:
    try:
        values = decode(raw)
        return Claim(values["turn_id"], encode(values["note"]), float(values["until"]), ended, values["fence"])
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged("the claim on the session is damaged; it ends by itself within a week") from error


def _entries(raw: bytes) -> list[bytes]:
    """The entries of a history, whoever wrote it."""
    try:
        entries = decode(raw)
    except ValueError as error:
        raise Damaged(f"is not a flow history: {error}") from error
    if not isinstance(entries, list):
        raise Damaged("is not a flow history: no JSON array")
    return [encode(entry) for entry in entries]
