"""Telling whether a session's head is still the one that was encoded, without encoding it again."""

from __future__ import annotations

import marshal
from dataclasses import fields
from operator import itemgetter

from .model import UniversalSession
from .parts import is_plain_moment

_APART = ("id", "history", "metadata", "origin")
_values_of = itemgetter(*(f.name for f in fields(UniversalSession) if f.name not in _APART))
_BY_VALUE_ALONE = 0  # later versions of the format note also how often, and in what way, an object is held


def fingerprint(session: UniversalSession) -> bytes | None:
    """What two sessions have in common only if they have the same head, but for ``metadata.last_active``.

    Types count: 1, True and 1.0 differ, as do a tuple and a list. It is good in this process only. None where a
    head has to be encoded to be compared: it holds other values than JSON has, or a moment that is none.
    """
    try:
        last_active = session.metadata.get("last_active")
        if last_active is not None and not is_plain_moment(last_active):
            return None
        values = {**session.metadata, "last_active": None}, _values_of(session.__dict__)
        return marshal.dumps(values, _BY_VALUE_ALONE)
    except (ValueError, TypeError, AttributeError):
        return None
