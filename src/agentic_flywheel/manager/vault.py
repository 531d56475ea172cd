"""The keys of sessions: made, kept apart from what they seal, remembered, wrapped anew and erased."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import Damaged, Sealed, Unavailable
from ..secrecy.sealing import MasterKeys, SessionKeys, new_key
from ..session import UniversalSession, now
from ..stores.names import parts_of, shown
from ..stores.owned import acting, acting_as

if TYPE_CHECKING:
    from .sessions import SessionManager

REMEMBERED = 10_000  # sessions whose keys a process has in memory


@dataclass(slots=True)
class Rotated:
    """What a rotation did: how many sessions have keys, whose were wrapped anew, and what failed, by session."""

    sessions: int = 0
    wrapped: int = 0
    ended: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Vault:
    """The keys of sessions, wrapped by a master key, in a store of their own.

    The keys of a session are kept as a *ring*: a session of the same id in that store, with a turn for each key. So
    rings are made, merged, journalled and deleted as sessions are. A key that is needed while the store is away is
    made anew, and joins the others later.

    Args:
        masters: the master keys.
        rings: where the rings are kept. No local copy of them may outlive their deletion: the store behind it must
            not remember what it has read.
    """

    def __init__(self, masters: MasterKeys, rings: SessionManager) -> None:
        self.masters = masters
        self.rings = rings
        self._lately: OrderedDict[tuple[str, str], SessionKeys] = OrderedDict()  # by owner and session

    async def to_write(self, session_id: str, *, anew: bool = False) -> SessionKeys:
        """The keys of a session, made if it has none; ``anew`` looks again at those that are remembered.

        Raises:
            Sealed: no master key here opens them.
            Unavailable: they can be neither read nor kept.
        """
        keys = None if anew else self._lately.get((acting(), session_id))
        if keys is not None:
            return keys
        loaded = await self.rings.load(session_id)
        if loaded.state in ("damaged", "newer"):
            loaded.need()
        ring = loaded.session or UniversalSession(id=session_id, backend="keys")
        if not ring.history:
            await self._add_key(ring)
        elif anew and ring.ttl_seconds is not None:  # it was to expire, and a session begins under this id again
            ring.ttl_seconds = None
            await self._keep(ring)
        return self._remember(ring)

    async def to_read(self, session_id: str, sealed: Iterable[str]) -> SessionKeys:
        """The keys of a session that open what is sealed.

        Raises:
            Sealed: they were erased, or no master key here opens them.
            Unavailable: they cannot be read now.
        """
        keys = self._lately.get((acting(), session_id))
        if keys is not None and all(map(keys.knows, sealed)):
            return keys
        loaded = await self.rings.load(session_id)
        if loaded.state == "absent":
            raise Sealed(
                f"session {session_id!r} is encrypted and its key is not in {self.rings.store.where}: it was "
                "erased, or encryption.keys_url names another store than when it was made"
            )
        return self._remember(loaded.need())

    async def _add_key(self, ring: UniversalSession) -> None:
        key, name = new_key(), secrets.token_hex(4)
        wrapped = self.masters.wrap(key, ring.id, name)
        ring.history.append({"id": name, "timestamp": now(), "wrapped": wrapped})
        await self._keep(ring)

    async def _keep(self, ring: UniversalSession) -> None:
        saved = await self.rings.save_session(ring)
        if saved.outcome == "refused":
            raise Unavailable(f"the keys of session {ring.id!r} cannot be kept: {saved.reason}")

    def _remember(self, ring: UniversalSession) -> SessionKeys:
        try:
            keys = {turn["id"]: self.masters.unwrap(turn["wrapped"], ring.id, turn["id"]) for turn in ring.history}
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise Damaged(f"the keys of session {ring.id!r} are damaged") from error
        place = acting(), ring.id
        self._lately[place] = found = SessionKeys(ring.id, keys)
        self._lately.move_to_end(place)
        if len(self._lately) > REMEMBERED:
            self._lately.popitem(last=False)
        return found

    async def erase(self, session_id: str) -> None:
        """Delete the keys of a session, and with them all that they seal, wherever it lies.

        Raises:
            StoreError: the store of the keys cannot be reached.
        """
        self._lately.pop((acting(), session_id), None)
        await self.rings.delete_session(session_id)

    async def erase_all(self, principal: str) -> int:
        """Delete the keys of all that a principal has; how many sessions had some.

        Raises:
            StoreError: the store of the keys cannot be reached.
        """
        for place in [place for place in self._lately if place[0] == principal]:
            del self._lately[place]
        return await self.rings.store.erase(principal)

    async def rotate(self, sessions: SessionManager, *, longest: int) -> Rotated:
        """Wrap all keys by the first master key, so that the others are not needed any more.

        Args:
            sessions: whose keys these are.
            longest: seconds that an execution or a history may be kept, 0 for ever; the keys of a session that has
                ended expire after that.

        Raises:
            StoreError: the store of the keys cannot be reached.
        """
        done = Rotated()
        async for (name,) in self.rings.store.names("session"):
            owner, session_id = parts_of(name)
            done.sessions += 1
            try:
                with acting_as(owner):
                    await self._rotate(session_id, sessions, longest, done)
            except (Sealed, Damaged, Unavailable) as error:
                done.failed[shown(name)] = str(error)
        return done

    async def _rotate(self, session_id: str, sessions: SessionManager, longest: int, done: Rotated) -> None:
        ring = await self.rings.require(session_id)
        changed = self._wrap_anew(ring)
        ended = await sessions.own.raw(session_id) is None
        changed_life = self._set_life(ring, longest if ended else 0)
        if changed or changed_life:
            await self._keep(ring)
        done.wrapped += changed
        done.ended += ended

    def _wrap_anew(self, ring: UniversalSession) -> bool:
        changed = False
        for turn in ring.history:
            if not turn["wrapped"].startswith(f"{self.masters.first}."):
                key = self.masters.unwrap(turn["wrapped"], ring.id, turn["id"])
                turn["wrapped"] = self.masters.wrap(key, ring.id, turn["id"])
                changed = True
        return changed

    def _set_life(self, ring: UniversalSession, seconds: int) -> bool:
        before = ring.ttl_seconds
        ring.ttl_seconds = seconds or None
        return ring.ttl_seconds != before
