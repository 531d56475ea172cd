"""How a packet's budget is shared.

What the session is, and a question that was interrupted, come first. Of what is then left, the context may take a
quarter; the newest turns, word for word, two thirds of the rest, which is half of it all; older turns get a line
each. What one of them does not need, the others may take. What has no room is named, or counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...codec import title_of
from ...errors import BadInput
from ...jsontext import sendable
from ...manager import Interrupted
from ...session import Turn, UniversalSession
from ...session.values import plain_fields
from ..resumed import Resumed
from .fitting import Fitted, Part, fit, those_that_fit, until_full, weight_of_all
from .model import LeftOut, Packet
from .scale import Form, Scale
from .telling import EXCERPT, excerpt, line_of, minute, opening
from .tokens import LIGHTEST, SIXTHS, longest

TOKENS = 2000
LAST = 10
TOKENS_PER_TURN = 40  # a line of a turn that is not very short, as text
LEAST_NAMED = 75 * SIXTHS  # what a session's names may take, and its interrupted question
LEAST = 25 * SIXTHS  # what a large value gets at least
LONGEST_NAME = 100  # characters of a key that is named though its value is left out
SOME_MINUTE = "2025-11-18 10:00"
UNTOLD = {"timestamp": None, "question": None, "response": None}  # what the text shows of a turn that lacks these


def turns_within(tokens: int) -> int:
    """How many of a session's newest turns have to be loaded for a packet of so many tokens."""
    return max(tokens // TOKENS_PER_TURN, 1)


def pack(
    resumed: Resumed,
    *,
    tokens: int = TOKENS,
    last: int = LAST,
    forms: Collection[Form] = ("json", "text"),
    more: str = "a larger budget of tokens",
) -> Packet:
    """The packet of a session. Of its turns only the newest are looked at, `turns_within` the budget.

    Args:
        resumed: the session, with at least these turns loaded.
        tokens: what the packet costs at most, by the estimate of `agentic_flywheel.flywheel.packet.tokens`.
        last: how many turns it holds word for word at most.
        forms: how it will be sent; of several forms, each by itself keeps to the budget.
        more: where whoever reads it finds what has no room.

    Raises:
        BadInput: ``tokens`` is too small for what names the session, and it says what would do; or ``last`` is
            negative.
    """
    if last < 0:
        raise BadInput(f"last is {last}; it is a number of turns")
    scale = Scale(forms)
    budget = tokens * SIXTHS
    frame = _frame(resumed, scale, max(budget // 8, LEAST_NAMED), more)
    left = budget - scale.frame(frame)
    if left < 0:
        needed = tokens - left // SIXTHS
        raise BadInput(
            f"tokens is {tokens}; what names this session takes {needed} by itself: pass a larger number"
        )
    newest = resumed.session.history[-turns_within(tokens) :][::-1]
    filling = _Filling(scale, left, newest, last=last, others=len(newest) < frame.turns)
    return filling.fill(frame, resumed.session.context)


def _frame(resumed: Resumed, scale: Scale, room: int, more: str) -> Packet:
    """The packet as it is if nothing else fits: all turns and keys are only counted."""
    session = resumed.session
    total = session.history.older + len(session.history)
    names = _names(session)
    fitted = fit(names, room, scale.field, mark=lambda length: "…")
    interrupted, cut = _interrupted(resumed.interrupted, scale, room)
    return Packet(
        session_id=sendable(session.id),
        **{name: fitted.values.get(name, "…") for name in names},
        context={},
        turns=total,
        last_turns=[],
        earlier_turns=[],
        interrupted=interrupted,
        behind=resumed.behind,
        cut=[name for name in names if name in fitted.cut or name not in fitted.values] + cut,
        left_out=LeftOut(
            turns=total,
            since=minute(session.metadata.get("created_at")),
            until=SOME_MINUTE,
            context_keys=[],
            further_context_keys=len(session.context),
        ),
        more=more,
    )


def _names(session: UniversalSession) -> dict[str, Any]:
    """What a session is, beside its id."""
    metadata = {name: session.metadata.get(name) for name in ("created_at", "last_active")}
    return {
        "title": title_of(session),
        "status": session.status,
        "backend": session.backend,
        "current_flow_id": session.current_flow_id,
        **{name: moment if isinstance(moment, str) else None for name, moment in metadata.items()},
    }


def _interrupted(found: Interrupted | None, scale: Scale, room: int) -> tuple[str | None, list[str]]:
    """What is to be said of an interrupted question, and whether it was cut."""
    if found is None:
        return None, []
    question, flow_id = found.turn.question, excerpt(found.turn.flow_id, EXCERPT)

    def said(asked: Any) -> str:
        return str(replace(found, turn=replace(found.turn, question=asked, flow_id=flow_id)))

    most = room // LIGHTEST
    beginning = opening(question, most)
    if len(beginning) <= most and scale.line(whole := sendable(said(question))) <= room:
        return whole, []
    fitting = longest(sendable(beginning), room, lambda part: scale.line(said(f"{part}…")))
    return said(f"{fitting or ''}…"), ["interrupted"]


class _Filling:
    """Fills the frame of a packet: knows how much room is left, and takes from it."""

    def __init__(self, scale: Scale, left: int, newest: list[Turn], *, last: int, others: bool) -> None:
        self._scale = scale
        self._left = left
        self._newest = newest  # of the session's turns; the newest comes first
        self._last = last
        self._others = others

    def fill(self, frame: Packet, context: Mapping[str, Any]) -> Packet:
        """The packet of a frame."""
        lines = until_full(self._lines(), self._left)
        whole = until_full(self._whole(), self._left)
        known = self._known(context, self._left - weight_of_all([*lines, *whole]))
        names = self._take(those_that_fit(self._names(context, known), self._left // 16))
        words, cut = self._words(whole, self._left - weight_of_all(lines))
        earlier = self._take(those_that_fit(lines[len(words) :], self._left))
        told = len(words) + len(earlier)
        cut = [*frame.cut, *(f"context.{key}" for key in known.cut), *cut]
        left_out = LeftOut(
            turns=frame.turns - told,
            since=frame.left_out.since if told < frame.turns else None,
            until=minute(self._newest[told].timestamp) if told < len(self._newest) else None,
            context_keys=names,
            further_context_keys=len(context) - len(known.values) - len(names),
        )
        return replace(
            frame,
            context=known.values,
            last_turns=words[::-1],
            earlier_turns=earlier[::-1],
            cut=cut,
            left_out=left_out,
            more=frame.more if cut or told < frame.turns or len(known.values) < len(context) else None,
        )

    def _take(self, parts: list[Part]) -> list[Any]:
        self._left -= weight_of_all(parts)
        return [part.value for part in parts]

    def _lines(self) -> Iterator[Part]:
        # Where there are others, one is kept for its date: it is the newest that the packet leaves out.
        for turn in self._newest[:-1] if self._others else self._newest:
            line = line_of(turn)
            yield Part(line, self._scale.line(line))

    def _whole(self) -> Iterator[Part]:
        for turn in self._newest[: self._last]:
            most = self._left // LIGHTEST
            if len(opening(turn, most)) > most:
                yield Part(None, self._left + 1)  # at least
            else:
                value = sendable(plain_fields(turn, "turn"))
                yield Part(value, self._scale.turn(value))

    def _known(self, context: Mapping[str, Any], unasked: int) -> Fitted:
        """What fits of the context into a quarter of the room, or into as much as nobody else asks for."""
        room = max(self._left // 4, unasked)
        known = fit(context, room, self._scale.entry, least=LEAST)
        self._left -= sum(self._scale.entry(key, value, key in known.cut) for key, value in known.values.items())
        return known

    def _names(self, context: Mapping[str, Any], known: Fitted) -> Iterator[Part]:
        for name in context:
            if len(name) <= LONGEST_NAME and (key := sendable(name)) not in known.values:
                yield Part(key, self._scale.name(key))

    def _words(self, whole: list[Part], unasked: int) -> tuple[list[Any], list[str]]:
        """The newest turns word for word, and what was cut: at least one turn, unless none is wanted."""
        room = max(self._left * 2 // 3, unasked)
        fitting = those_that_fit(whole, room)
        if fitting or not whole:
            return self._take(fitting), []
        turn = self._shortened(self._newest[0], room)
        return (self._take([turn]), ["last_turns"]) if turn.weight <= room else ([], [])

    def _shortened(self, turn: Turn, room: int) -> Part:
        """A turn whose long fields are cut."""
        around = self._scale.name("last_turns") + self._scale.turn(UNTOLD)
        value = fit(turn, room - around, self._scale.field).values
        return Part(value, self._scale.name("last_turns") + self._scale.turn(value))
