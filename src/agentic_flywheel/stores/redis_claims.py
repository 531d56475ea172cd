"""Claims on sessions: which turn is run in a session, and until when it has the right to."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..errors import Damaged, StoreError
from ..jsontext import decode, encode
from . import redis_scripts as scripts
from . import redis_watch
from .base import Claim, Grant
from .redis_client import raise_translated
from .redis_keys import Keys
from .redis_lane import Command
from .redis_pieces import read_bytes
from .redis_pipe import Carrier

KEPT_SECONDS = 7 * 24 * 3600
TOO_LARGE = [b"large"]
_START = 512  # bytes of a claim in which all is that stands before its note
_HELD = re.compile(rb'\{"until":([\d.]+),"fence":(\d+),"turn_id":("[^"]*")')


class Wanted(Struct, frozen=True):
    """A claim that a turn wants, as `Store.claim` has it."""

    session_id: str
    turn_id: str
    note: bytes
    seconds: float
    instead: str | None = None

    @property
    def is_large(self) -> bool:
        """Whether no script is to be handed the note; it holds the question."""
        return len(self.note) >= redis_watch.LARGE


class RedisClaims:
    """Makes them by a script, or by a transaction where a note is too large for one."""

    def __init__(self, pipe: Carrier, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def claim(self, wanted: Wanted) -> Grant:
        """As `Store.claim`."""
        if not wanted.is_large:
            answer = await self._pipe.one(*self.command(wanted))
            if answer != TOO_LARGE:
                return grant_of(answer)
        return await self._claim_large(self._keys.claim(wanted.session_id), wanted)

    def command(self, wanted: Wanted) -> Command:
        """What makes a claim; it answers `TOO_LARGE`, and does nothing, where a large one stands."""
        arguments = (encode(wanted.turn_id), wanted.note, str(wanted.seconds), encode(wanted.instead), KEPT_SECONDS)
        return scripts.CLAIM.on(self._keys.claim(wanted.session_id), *arguments)

    async def _claim_large(self, key: str, wanted: Wanted) -> Grant:
        turn, instead = encode(wanted.turn_id), encode(wanted.instead)
        look: list[Command] = [("GETRANGE", key, 0, _START - 1), ("STRLEN", key), ("TIME",)]
        async with self._pipe.watching(key) as watcher:
            while True:
                start, size, (now, micros) = await watcher.watch(key, *look)
                moment, fence = int(now) + int(micros) / 10**6, int(now) * 10**6 + int(micros)
                until, its_fence, holder = _held(start)
                if holder == turn:
                    fence, found = its_fence, b""
                else:
                    fence, found = max(fence, its_fence + 1), await read_bytes(watcher.ask, key, size)
                ended = until <= moment or holder in (turn, instead)
                if not ended:
                    return Grant(0, _claim(found, ended=False))
                start = b'{"until":%.3f,"fence":%d,"turn_id":%b' % (moment + wanted.seconds, fence, turn)
                claim = b'%b,"note":%b}' % (start, wanted.note)
                if await watcher.write(("SET", key, claim, "EX", KEPT_SECONDS)):
                    return Grant(fence, _claim(found, ended=True)) if found else Grant(fence)

    async def claimed(self, session_id: str) -> Claim | None:
        """As `Store.claimed`."""
        key = self._keys.claim(session_id)
        found, (now, _) = [raise_translated(answer) for answer in await self._pipe.run([("GET", key), ("TIME",)])]
        claim = _claim(found, ended=False) if found else None
        return replace(claim, ended=claim.until <= int(now)) if claim else None

    async def release(self, session_id: str, turn_id: str) -> None:
        """As `Store.release`."""
        await self._pipe.one(*scripts.RELEASE.on(self._keys.claim(session_id), encode(turn_id)))


def grant_of(answer: Any) -> Grant:
    """What the script that claims has granted."""
    match answer:
        case [fence]:
            return Grant(fence)
        case [fence, found]:
            return Grant(fence, _claim(found, ended=fence > 0))
        case unexpected:
            raise StoreError(f"the claim script answered {unexpected!r}")


def _held(start: bytes) -> tuple[float, int, bytes]:
    """Until when, with which fence and by which turn a claim is held that begins so; 0 if it is none."""
    match = _HELD.match(start)
    return (float(match[1]), int(match[2]), match[3]) if match else (0.0, 0, b"")


def _claim(raw: bytes, *, ended: bool) -> Claim:
    try:
        values = decode(raw)
        return Claim(values["turn_id"], encode(values["note"]), float(values["until"]), ended, values["fence"])
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged("the claim on the session is damaged; it ends by itself within a week") from error
