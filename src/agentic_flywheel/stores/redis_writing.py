"""Writing a session document: appending to it, or putting another in its place."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from msgspec.structs import replace

from ..errors import Conflict, Deleted, Fenced, StoreError
from ..jsontext import encode
from ..session.times import seconds
from . import redis_large as large
from . import redis_layout as layout
from . import redis_scripts as scripts
from . import redis_watch
from .base import Change, Mark, Record
from .names import parts_of
from .redis_client import raise_translated, translate
from .redis_heads import HeadSizes
from .redis_index import Placer
from .redis_keys import Keys
from .redis_lane import Command
from .redis_lifetimes import Lifetimes
from .redis_pipe import Carrier
from .redis_records import RedisRecords
from .redis_room import make_room
from .redis_sweep import Sweeper
from .writing import too_large

log = logging.getLogger(__name__)


class SessionWriter:
    """Writes sessions, and what is kept beside them in the same round trip.

    The index and ``lifetimes`` are exact to a second. An append is one command, but for what is kept beside it.
    """

    def __init__(
        self,
        pipe: Carrier,
        keys: Keys,
        records: RedisRecords,
        placer: Placer,
        lifetimes: Lifetimes,
        heads: HeadSizes,
        sweeper: Sweeper,
    ) -> None:
        self._pipe = pipe
        self._keys = keys
        self._records = records
        self._placer = placer
        self._index = placer.index
        self._lifetimes = lifetimes
        self._heads = heads
        self._sweeper = sweeper

    def write(self, change: Change, limit: int) -> Coroutine[Any, Any, Mark]:
        """As `Store.write`."""
        if change.base is None or change.history is not None:
            return self._replace(change, limit)
        return self._append(change, change.base, limit)

    async def _append(self, change: Change, base: Mark, limit: int) -> Mark:
        mark = Mark(change.version, base.epoch, base.revision + 1, base.total + len(change.added))
        renews = self._lifetimes.is_due(change.session_id, change.ttl)
        append = self._appending(change, base, mark, limit, renews=renews)
        *others, answer = await self._carry_out(append, change.records)
        if others:
            await self._records.heed(change.records, others)
        while isinstance(answer, list) and answer[0] == b"room":
            key = self._keys.session(change.session_id)
            there = await make_room(self._pipe, key, base.epoch, answer[1])
            (answer,) = await self._carry_out(append) if there else ([b"changed"],)
        if not isinstance(answer, int):
            self._lifetimes.forget(change.session_id)
            raise _refusal(answer, change, limit)
        self._placer.used(change.session_id, change.last_active)
        if renews:
            self._lifetimes.began(change.session_id, change.ttl)
        if change.head != change.base_head:
            self._note_head(change)
        if change.releases is not None and not (self._pipe.is_one_server and isinstance(append, tuple)):
            await self._release(change.session_id, change.releases)
        return replace(mark, size=answer)

    def _carry_out(
        self, append: large.Append | Command, records: Sequence[Record] = ()
    ) -> Coroutine[Any, Any, list[Any]]:
        """The answers to what is written beside an append, if that is not heeded here, and to the append."""
        if not isinstance(append, tuple):
            return self._carry_out_large(append, records)
        return self._pipe.run([*self._records.commands(records), append] if records else [append])

    async def _carry_out_large(self, append: large.Append, records: Sequence[Record]) -> list[Any]:
        await self._records.keep(records)
        return [await append.write(self._pipe)]

    async def _replace(self, change: Change, limit: int) -> Mark:
        mark, document = _document(change, limit)
        # The index names what is there already: else who looks for what has expired would take it out again.
        listed = self._index.put(change.session_id, change.last_active)
        tombstone: Command = ("GET", self._keys.tombstone(change.session_id))
        *others, answer, _, buried = await self._put(change, document, [listed, tombstone])
        await self._records.heed(change.records, others)
        if answer != [b"stored"]:
            raise _refusal(answer, change, limit)
        await self._stay_deleted(change, raise_translated(buried))
        self._lifetimes.began(change.session_id, change.ttl)
        self._note_head(change)
        if change.base is None:
            self._sweeper.created(parts_of(change.session_id)[0])
        if change.releases is not None:
            await self._release(change.session_id, change.releases)
        return mark

    async def _put(self, change: Change, document: bytes, behind: Sequence[Command]) -> list[Any]:
        """The answers to what is written before a document is put in its place, to that, and to what comes then.

        What is written before a large one was heeded.
        """
        key, seen = self._keys.session(change.session_id), change.base.version if change.base else ""
        if len(document) < redis_watch.LARGE and not seen.startswith(layout.FOREIGN):
            putting = scripts.REPLACE.on(key, seen, change.version, document, change.ttl, change.fence)
            return await self._pipe.steps([*self._records.commands(change.records), putting], behind)
        await self._records.keep(change.records)
        answer = await large.put(self._pipe, key, change, document)
        return [answer, *await self._pipe.run(behind)]

    def _note_head(self, change: Change) -> None:
        self._heads.note(change.session_id, layout.size_of_head(layout.rest_of(change.head)))

    def _appending(
        self, change: Change, base: Mark, mark: Mark, limit: int, *, renews: bool
    ) -> large.Append | Command:
        """What appends; if it can name two keys, it gives up the claim of a turn that ends with the change, too."""
        key = self._keys.session(change.session_id)
        if large.is_large(change):
            return large.Append(key, change, base, mark, limit, renews=renews)
        arguments = _append_arguments(change, base, mark, limit, renews=renews)
        if change.releases is None or not self._pipe.is_one_server:
            return scripts.APPEND.on(key, *arguments)
        return scripts.APPEND.on_both(key, self._keys.claim(change.session_id), *arguments, encode(change.releases))

    async def _release(self, session_id: str, turn_id: str) -> None:
        """Give the claim of a turn up now; what it wrote is stored and does not fail with that."""
        try:
            await self._pipe.one(*scripts.RELEASE.on(self._keys.claim(session_id), encode(turn_id)))
        except StoreError as error:
            log.warning("the claim of turn %s ends by itself: %s", turn_id, type(error).__name__)

    async def _stay_deleted(self, change: Change, buried: bytes | None) -> None:
        """Take back a session that was created although it was deleted since it began.

        The deletion notes itself before it deletes, and we look for the note after we wrote: whichever
        came first, one of the two removes the session.
        """
        if change.base is None and buried is not None and seconds(buried.decode()) >= seconds(change.created_at):
            await self._pipe.one("DEL", self._keys.session(change.session_id))
            await self._pipe.one(*self._index.remove(change.session_id))
            raise Deleted(f"the session was deleted at {buried.decode()}")


def _append_arguments(
    change: Change, base: Mark, mark: Mark, limit: int, *, renews: bool
) -> tuple[scripts.Argument, ...]:
    rest = layout.rest_of(change.head)
    stays = change.head == change.base_head
    return (
        base.version,
        layout.front_of(mark, rest, change.last_active, change.ttl),
        b"" if stays else rest,
        0 if stays else layout.block_for(rest),
        layout.end_of(change.added, base.total),
        limit,
        change.fence,
        change.ttl,
        int(renews),
        base.size,
    )


def _document(change: Change, limit: int) -> tuple[Mark, bytes]:
    """The whole document that a change makes, and its state.

    Raises:
        TooLarge: it has more bytes than the limit.
    """
    lines = change.added if change.history is None else change.history
    revision = change.base.revision + 1 if change.base else 1
    mark = Mark(change.version, change.epoch or change.version, revision, len(lines))
    document = layout.compose(mark, change.head, change.last_active, lines, change.ttl, change.fence)
    if len(document) > limit:
        raise too_large(change.session_id, len(document), limit)
    return replace(mark, size=len(document)), document


def _refusal(answer: Any, change: Change, limit: int) -> Exception:
    """What it means that a script did not write."""
    match answer:
        case Exception():
            return translate(answer)
        case [b"full", size]:
            return too_large(change.session_id, size, limit)
        case [b"fenced"]:
            return Fenced(change.session_id)
        case [bytes(found)]:
            return Conflict(change.session_id, found.decode())
        case unexpected:
            return StoreError(f"the script answered {unexpected!r}")
