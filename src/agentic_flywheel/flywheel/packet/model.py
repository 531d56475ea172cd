"""What a packet holds, and how it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .telling import as_text, moment, told


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a packet has no room for.

    ``turns`` counts the oldest turns; they are from ``since`` to ``until``, in UTC, where that is known.
    ``context_keys`` names keys of the context, ``further_context_keys`` counts those that are not even named.
    """

    turns: int
    since: str | None
    until: str | None
    context_keys: list[str]
    further_context_keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What it takes to go on with a session, in a given number of tokens at most; all of it in JSON types.

    Each turn of the session stands in ``last_turns`` word for word, or in ``earlier_turns`` as a line, or is
    counted in ``left_out``; both lists begin with the oldest. ``cut`` names what was shortened: a field,
    ``context.KEY``, or ``last_turns`` where the last turn was too large even alone. ``more`` says how to get at
    the rest.
    """

    session_id: str
    title: str | None
    status: str
    backend: str
    current_flow_id: str | None
    created_at: str | None
    last_active: str | None
    context: dict[str, Any]
    turns: int
    last_turns: list[dict[str, Any]]
    earlier_turns: list[str]
    interrupted: str | None
    behind: bool
    cut: list[str]
    left_out: LeftOut
    more: str | None

    def to_dict(self) -> dict[str, Any]:
        """The packet in JSON types."""
        return asdict(self)

    def to_text(self) -> str:
        """The packet as the opening of a conversation."""
        return "\n".join([*self._opening(), *self._context(), *self._earlier(), *self._last(), *self._closing()])

    def _opening(self) -> Iterator[str]:
        yield "Let us continue where we left off."
        yield f"session_id: {self.session_id} (pass it to every tool call of this conversation)"
        if self.title:
            yield f"title: {self.title}"
        yield f"begun {moment(self.created_at)}, last used {moment(self.last_active)}, {self.turns} turns so far"
        if self.interrupted:
            yield f"Note: {self.interrupted}."
        if self.behind:
            yield "Note: the store is away; turns that others wrote lately may be lacking here."

    def _context(self) -> Iterator[str]:
        if self.context:
            yield CONTEXT
        for key, value in self.context.items():
            yield entry_line(key, value)
        if self.left_out.context_keys or self.left_out.further_context_keys:
            names = [*self.left_out.context_keys, f"{self.left_out.further_context_keys} more"]
            yield f"Left out of the context: {', '.join(names)}"

    def _earlier(self) -> Iterator[str]:
        if self.left_out.turns:
            times = f"{self.left_out.since or '?'} to {self.left_out.until or '?'}"
            yield f"\nLeft out: the first {self.left_out.turns} turns ({times})."
        if self.earlier_turns:
            yield EARLIER
        yield from self.earlier_turns

    def _last(self) -> Iterator[str]:
        if self.last_turns:
            yield LAST_TURNS
        yield from map(told, self.last_turns)

    def _closing(self) -> Iterator[str]:
        if self.more:
            yield f"\nMore: {self.more}"


CONTEXT = "\nWhat it knows (its context):"
EARLIER = "\nEarlier turns, in a line each:"
LAST_TURNS = "\nThe last turns, word for word:"
HEADINGS = f"{CONTEXT}\n{EARLIER}\n{LAST_TURNS}\n"
"""What stands in the text if there is something to stand under it."""


def entry_line(key: str, value: Any) -> str:
    """A key of the context as the text shows it."""
    return f"- {key}: {as_text(value)}"
