"""The index of sessions by their last use, for listings."""

from __future__ import annotations

from ..session.times import seconds
from .names import id_of, parts_of
from .redis_lane import Command
from .redis_lately import Lately

TO_THE_SECOND = len("2025-11-18T10:00:00")


class Index:
    """A sorted set for each owner, each session's score the moment of its last use in seconds.

    A session that is written several times within a second is put in its place once: the score may be behind
    by less than a second, and saves that follow each other closely are one command each.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._places: Lately[str] = Lately()

    def lags(self, session_id: str, last_active: str | None) -> bool:
        """Whether a session used at this moment has to be put in its place."""
        return last_active is None or self._places.get(session_id) != last_active[:TO_THE_SECOND]

    def put(self, session_id: str, last_active: str | None) -> Command:
        """What puts a session in its place; tell `was_put` when that is done."""
        owner, plain = parts_of(session_id)
        return ("ZADD", self.key(owner), str(seconds(last_active)), plain)

    def was_put(self, session_id: str, last_active: str | None) -> None:
        """Note that a session is in its place."""
        self._places.note(session_id, (last_active or "")[:TO_THE_SECOND])

    def remove(self, *session_ids: str) -> Command:
        """What takes sessions out, all of one owner."""
        for session_id in session_ids:
            self._places.forget(session_id)
        owner, _ = parts_of(session_ids[0])
        return ("ZREM", self.key(owner), *map(id_of, session_ids))

    def page(self, owner: str, first: int, count: int) -> Command:
        """What reads the ids of so many sessions of an owner, used last first, from a place on."""
        return ("ZREVRANGE", self.key(owner), first, first + count - 1)

    def key(self, owner: str) -> str:
        """Where the set of an owner is."""
        return f"{self._key}:{owner}" if owner else self._key
