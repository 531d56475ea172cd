"""What the session manager answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import Struct

from ..errors import Damaged, FlywheelError, Newer, Sealed, SessionNotFound, Unavailable
from ..session import UniversalSession

Outcome = Literal["stored", "journalled", "off", "refused"]
LoadState = Literal["found", "absent", "unavailable", "damaged", "newer", "sealed"]


class Saved(Struct, frozen=True):
    """What a save did; true where the session is safe.

    ``outcome`` is ``stored``; ``journalled`` (accepted on local disk until the store answers); ``off``
    (persistence is switched off, the session is in this process only); or ``refused``, with the
    ``reason``. ``where`` says where it is, ``revision`` how many writes the session has had. A save that
    moved a damaged document out of its way says so in its ``reason``.
    """

    outcome: Outcome
    where: str
    reason: str | None = None
    revision: int | None = None

    def __bool__(self) -> bool:
        return self.outcome in ("stored", "journalled")


class Loaded(Struct, frozen=True):
    """What a load found: only a ``found`` session is there; ``reason`` says why another one is not.

    ``behind`` says that the store is away and that this is what is known on this machine: turns that others
    wrote lately, and early turns of a long session, may be lacking.
    """

    state: LoadState
    session: UniversalSession | None = None
    reason: str | None = None
    behind: bool = False

    def need(self) -> UniversalSession:
        """The session.

        Raises:
            SessionNotFound, Damaged, Newer, Sealed, Unavailable: it is not there, by its ``state``.
        """
        if self.session is None:
            raise _PROBLEMS[self.state](self.reason)
        return self.session


_PROBLEMS: dict[LoadState, type[FlywheelError]] = {
    "absent": SessionNotFound,
    "damaged": Damaged,
    "newer": Newer,
    "sealed": Sealed,
    "unavailable": Unavailable,
}


@dataclass(frozen=True, slots=True)
class Health:
    """How the store is.

    ``state`` is ``ok``; ``replaying`` (it is back, and what waited is being written); ``unavailable``;
    ``misconfigured`` (it refuses us until a setting is changed); or ``off``. ``since`` is when it was last
    found away or back, ``oldest_pending`` when the oldest entry of the journal was accepted, both in seconds
    since 1970. ``pending`` counts the journal's entries, ``refused`` those that the store would not take;
    ``breaker`` is ``closed``, or ``open`` or ``half-open`` while callers are turned away at once.
    ``latency_ms`` is how long it took to answer, ``error`` the last one, ``facts`` what the store says of
    itself. ``counts`` counts what this process did by outcome, ``latencies_ms`` has the median and the 99th
    percentile of its last calls. ``large_sessions`` has the sizes of those that it wrote and that are near the
    limit, in bytes.
    """

    state: Literal["ok", "replaying", "unavailable", "misconfigured", "off"]
    store: str
    where: str
    since: float | None = None
    latency_ms: float | None = None
    error: str | None = None
    pending: int = 0
    pending_bytes: int = 0
    oldest_pending: float | None = None
    refused: int = 0
    breaker: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    latencies_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    large_sessions: dict[str, int] = field(default_factory=dict)
