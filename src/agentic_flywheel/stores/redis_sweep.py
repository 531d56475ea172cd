"""Taking sessions that have expired out of the index: Redis removes what expires, and not what names it."""

from __future__ import annotations

from collections.abc import Sequence

from .names import name_of
from .redis_index import Index
from .redis_keys import Keys
from .redis_pipe import Carrier

AT_ONCE = 1000  # sessions that are looked for in one pipeline


class Sweeper:
    """Keeps the index of what is in one Redis from naming what is gone."""

    def __init__(self, pipe: Carrier, keys: Keys, index: Index) -> None:
        self._pipe = pipe
        self._keys = keys
        self._index = index

    async def sweep(self, owner: str, members: Sequence[bytes]) -> int:
        """Take those of an owner's sessions that are gone out of the index; how many there were.

        Each is looked for by itself: in a cluster they are on several servers.
        """
        gone: list[str] = []
        for first in range(0, len(members), AT_ONCE):
            names = [name_of(owner, member.decode()) for member in members[first : first + AT_ONCE]]
            there = await self._pipe.all([("EXISTS", self._keys.session(name)) for name in names])
            gone += [name for name, found in zip(names, there, strict=True) if not found]
        if gone:
            await self._pipe.one(*self._index.remove(*gone))
        return len(gone)
