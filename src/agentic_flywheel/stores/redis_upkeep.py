"""Upkeep of what is in Redis: walking through it, what is damaged, the index, erasing what somebody has."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..errors import Damaged
from ..session.times import now
from .base import ASIDE_SECONDS, Kind, Store
from .names import PRINCIPAL, parts_of
from .redis_carriers import carrier as carrier_to
from .redis_client import without_password
from .redis_facts import facts_of, together
from .redis_index import Index, Placer
from .redis_keys import Keys
from .redis_pieces import read_any, read_bytes
from .redis_pipe import Carrier
from .redis_sweep import Sweeper

PAGE = 200
_ERASED = ("session", "execution", "history", "share", "claim", "damaged")


class RedisUpkeep(Store):
    """The part of `RedisStore` that no conversation waits for. Most of it walks through all keys."""

    name = "redis"

    def __init__(self, url: str, *, prefix: str = "agentic_flywheel", carrier: Carrier | None = None) -> None:
        self.where = without_password(url)
        self._keys = Keys(prefix)
        self._pipe = carrier or carrier_to(url)
        self._index = Index(self._keys.index)
        self._placer = Placer(self._pipe, self._index)
        self.sweeper = Sweeper(self._pipe, self._keys, self._index)

    async def names(self, kind: Kind) -> AsyncIterator[tuple[str, ...]]:
        async for key in self._scan(self._keys.pattern(kind)):
            if name := self._keys.parts(key, kind):
                yield name

    async def _scan(self, pattern: str) -> AsyncIterator[bytes]:
        """The keys of all servers that match; some may come twice."""
        for server in await self._pipe.servers():
            cursor: bytes | None = b"0"
            while cursor is not None:
                at, keys = await server.one("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE)
                for key in keys:
                    yield key
                cursor = at if int(at) else None

    async def raw(self, session_id: str) -> bytes | None:
        return await self._raw(self._keys.session(session_id))

    async def _raw(self, key: str) -> bytes | None:
        kind = (await self._pipe.one("TYPE", key)).decode()
        if kind == "none":
            return None
        if kind == "string":
            return await read_any(self._pipe, key)
        data: bytes | None = await self._pipe.one("DUMP", key)
        return data

    async def set_aside(self, session_id: str, raw: bytes) -> str | None:
        # Two keys, and no RENAME: in a cluster they may be on two servers.
        key, copy = self._keys.session(session_id), self._keys.damaged(session_id, now())
        if await self._pipe.one("TYPE", key) == b"string":
            await self._pipe.one("SET", copy, raw, "EX", ASIDE_SECONDS)
        elif raw == await self.raw(session_id):
            await self._pipe.one("RESTORE", copy, ASIDE_SECONDS * 1000, raw)
        async with self._pipe.watching(key) as watcher:
            (kind,) = await watcher.watch(key, ("TYPE", key))
            if kind == b"string":
                found = await read_bytes(watcher.ask, key, await watcher.ask("STRLEN", key))
            else:
                found = await watcher.ask("DUMP", key)
            if raw == found and await watcher.write(("DEL", key)):
                return copy
        await self._pipe.one("DEL", copy)
        return None

    async def aside(self, session_id: str) -> dict[str, bytes]:
        pattern = self._keys.damaged(session_id, "").removeprefix(f"{self._keys.prefix}:damaged:")
        pattern = self._keys.pattern(f"damaged:{pattern.removesuffix(':')}")
        found = {key async for key in self._scan(pattern)}
        kept = {key.decode(): await self._raw(key.decode()) for key in sorted(found)}
        return {key: raw for key, raw in kept.items() if raw is not None}

    async def reindex(self) -> int:
        count = 0
        async for (session_id,) in self.names("session"):
            try:
                stored = await self.read(session_id, last=0, touch=False)
            except Damaged:
                continue
            if stored is not None:
                await self._pipe.one(*self._index.put(session_id, stored.last_active))
                count += 1
        await self._sweep_all()
        return count

    async def _sweep_all(self) -> None:
        """Take what is gone out of every index, also of owners who do not come back."""
        owners = {""}
        async for key in self._scan(self._keys.pattern("index")):
            owners.add(key.decode(errors="replace").removeprefix(f"{self._keys.index}:"))
        for owner in filter(lambda owner: not owner or PRINCIPAL.fullmatch(owner), owners):
            number = await self._pipe.one("ZCARD", self._index.key(owner))
            await self.sweeper.sweep(owner, await self._pipe.one(*self._index.page(owner, 0, number)))

    async def erase(self, owner: str) -> int:
        await self._placer.place()
        await self._pipe.one("DEL", self._index.key(owner))
        erased = 0
        for kind in _ERASED:
            async for key in self._scan(self._keys.pattern(f"{kind}:{owner}")):
                parts = self._keys.parts(key, kind)
                if parts and parts_of(parts[0])[0] == owner:
                    erased += await self._pipe.one("DEL", key.decode())
        async for (name,) in self.names("share"):
            if await self.share(name) == owner.encode():
                erased += await self._pipe.one("DEL", self._keys.share(name))
        return erased

    async def check(self) -> dict[str, object]:
        servers = await self._pipe.servers()
        facts = [await facts_of(server) for server in servers]
        return facts[0] if len(facts) == 1 else {"primaries": len(facts)} | together(facts)

    async def close(self) -> None:
        await self.sweeper.close()
        await self._placer.close()
        await self._pipe.close()
