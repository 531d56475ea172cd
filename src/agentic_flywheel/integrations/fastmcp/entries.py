"""An entry of FastMCP's session state, and the context of the session that it is kept as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VALUE = "value"
STATE = "state"
EACH = "state:"


def spread(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as a context, in which each key of a FastMCP session's state stands by itself.

    Contexts are merged key by key where several write at once. FastMCP has such a session as
    ``{"value": {"_created": …, "state": {…}}}``; an entry of another form is one key.
    """
    state = _state_of(entry)
    if state is None:
        return {VALUE: dict(entry)}
    rest = {**entry, VALUE: {**entry[VALUE], STATE: {}}}
    return {VALUE: rest, **{EACH + key: value for key, value in state.items()}}


def gathered(context: Mapping[str, Any]) -> dict[str, Any]:
    """The entry that a context was made of; with what others have added since."""
    entry: dict[str, Any] = context[VALUE]
    if _state_of(entry) is None:
        return entry
    state = {key.removeprefix(EACH): value for key, value in context.items() if key.startswith(EACH)}
    return {**entry, VALUE: {**entry[VALUE], STATE: state}}


def _state_of(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    value = entry.get(VALUE)
    state = value.get(STATE) if isinstance(value, dict) else None
    return state if isinstance(state, dict) else None
