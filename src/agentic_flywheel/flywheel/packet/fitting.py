"""Fitting values into a room: small ones whole, large ones cut to equal shares of what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...jsontext import sendable
from ...session.values import plain
from .telling import opening
from .tokens import LIGHTEST, longest

Weigh = Callable[[str, Any, bool], int]
"""What a field weighs, in sixths of a token: its name, its value, whether that was cut."""


@dataclass(slots=True)
class Fitted:
    """The fields that fit, in JSON types, and the names of those among them that were ``cut``."""

    values: dict[str, Any] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field: its value, the beginning of its text, its weight; of what is surely too heavy, a weight that is."""

    name: str
    value: Any
    beginning: str
    length: int | None
    weight: int


def note_cut(length: int | None) -> str:
    """What stands behind the beginning of a value that was cut; ``length`` is how many characters a text has."""
    return "… [cut: see more]" if length is None else f"… [cut; {length:,} characters: see more]"


def fit(
    fields: Mapping[str, Any],
    room: int,
    weigh: Weigh,
    *,
    least: int = 0,
    mark: Callable[[int | None], str] = note_cut,
) -> Fitted:
    """As much of some fields as a room holds.

    Args:
        fields: names and session values.
        room: in sixths of a token.
        weigh: what a field weighs.
        least: the room that a large value gets at least; fields for which there is none are absent.
        mark: what stands behind the beginning of a value that was cut; see `note_cut`.
    """
    taken = _affordable(fields, room, weigh, least)
    share = _share([entry.weight for entry in taken], room)
    fitted = Fitted()
    for entry in taken:
        if entry.weight <= share:
            fitted.values[entry.name] = entry.value
        elif (text := _cut(entry, share, weigh, mark(entry.length))) is not None:
            fitted.values[entry.name] = text
            fitted.cut.append(entry.name)
    return fitted


def _affordable(fields: Mapping[str, Any], room: int, weigh: Weigh, least: int) -> list[_Field]:
    """The first fields, as many as there is room for if the large ones get the least that they may."""
    taken, used = [], 0
    for name, value in fields.items():
        entry = _field(sendable(name), value, room, weigh)
        used += min(entry.weight, least)
        if used > room:
            break
        taken.append(entry)
    return taken


def _field(name: str, value: Any, room: int, weigh: Weigh) -> _Field:
    most = room // LIGHTEST
    beginning = opening(value, most)
    length = len(value) if isinstance(value, str) else None
    if len(beginning) > most or len(name) > most:
        return _Field(name, None, sendable(beginning), length, room + 1)
    value = sendable(plain(value, name))
    return _Field(name, value, sendable(beginning), length, weigh(name, value, False))


def _share(weights: Sequence[int], room: int) -> int:
    """How much each may weigh, so that all together fit; what the light ones do not need is left to the others."""
    for place, weight in enumerate(sorted(weights)):
        share = room // (len(weights) - place)
        if weight > share:
            return share
        room -= weight
    return max(weights, default=0)


def _cut(entry: _Field, room: int, weigh: Weigh, mark: str) -> str | None:
    if len(entry.name) > room // LIGHTEST:
        return None
    beginning = longest(entry.beginning, room, lambda part: weigh(entry.name, part + mark, True))
    return None if beginning is None else beginning + mark


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a packet and its weight."""

    value: Any
    weight: int


def until_full(parts: Iterable[Part], room: int) -> list[Part]:
    """The first of the parts, up to the one with which they are too heavy; no more of them are made than that."""
    taken = []
    for part in parts:
        taken.append(part)
        room -= part.weight
        if room < 0:
            break
    return taken


def those_that_fit(parts: Iterable[Part], room: int) -> list[Part]:
    """The first of the parts, as many as are not too heavy together."""
    taken = until_full(parts, room)
    return taken[:-1] if weight_of_all(taken) > room else taken


def weight_of_all(parts: Iterable[Part]) -> int:
    """What the parts weigh together."""
    return sum(part.weight for part in parts)
