"""Which Python values a session may hold, and how those that JSON lacks are written.

What JSON holds is kept exactly: text, integers of any size, finite floats, booleans, None, lists, and
dicts with text keys. Four more types have a rule that can be reversed, an object with one key:

==============  =====================================================================
datetime        ``{"$datetime": "2025-11-18T10:00:00+01:00"}`` (`datetime.isoformat`)
uuid.UUID       ``{"$uuid": "12345678-1234-5678-1234-567812345678"}``
bytes           ``{"$bytes": "3q2+7w=="}`` (standard base64)
Enum member     ``{"$enum": ["package.module:Color", "RED"]}`` (class, member name)
==============  =====================================================================

A datetime keeps its offset; the name of its time zone and ``fold`` have no place in ISO 8601.

A dict of the caller's that looks like one of these gets one more ``$`` in front of its key, and loses it
again on the way back; the fields of a turn, of ``context`` and of ``metadata`` are fields, whatever they
are called. An enum is looked up among the modules that are already imported; nothing is imported because a
document names it, and what is not found stays a `StoredEnum` and is written back as it was. Anything else
(sets, tuples, NaN, objects, subclasses of dict and list) is refused with the path that leads to it: a value
that silently changed its type would be a word lost.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from ..errors import BadInput, Unstorable
from .turn import Turn

MAX_DEPTH = 200
MAX_DIGITS = 4000  # of an integer; Python itself reads no more than 4300

_TAGGED = re.compile(r"\$+(datetime|uuid|bytes|enum)")
_AS_THEY_ARE = frozenset({str, bool, type(None)})
_SHORT = 2**63
_SURELY_SHORT = 13_000  # bits; an integer of so many has less than MAX_DIGITS digits


class StoredEnum(dict[str, Any]):
    """An enum member whose class is not imported here; written back exactly as it was stored."""


def plain(value: Any, path: str, depth: int = 0) -> Any:
    """The value in JSON types only.

    Raises:
        Unstorable: it, or something in it, has no JSON form; names the path, ``context.user.socket``.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE or kind is StoredEnum:
        return value
    if kind is int:
        return _readable(value, path)
    if depth > MAX_DEPTH:
        raise Unstorable(path, f"nested more than {MAX_DEPTH} levels deep")
    if kind is float:
        return _finite(value, path)
    if kind is dict or kind is Turn:
        return _plain_dict(value, path, depth)
    if kind is list:
        return [plain(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value)]
    return _tag(value, path)


def rich(value: Any, depth: int = 0) -> Any:
    """The value that `plain` was given, of its JSON form; what is not ours stays as it is.

    Raises:
        BadInput: it is nested more deeply than `plain` lets pass.
    """
    if not isinstance(value, dict | list):
        return value
    if depth > MAX_DEPTH:
        raise BadInput(f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        return [rich(item, depth + 1) for item in value]
    if len(value) == 1:
        ((key, content),) = value.items()
        if _TAGGED.fullmatch(key):
            return _untag(key, content, depth)
    return {key: rich(item, depth + 1) for key, item in value.items()}


def are_plain_fields(values: dict[str, Any]) -> bool:
    """Whether `plain_fields` would give what it is given; False also where that takes longer to see."""
    for key, item in values.items():
        kind = type(item)
        if type(key) is not str or not (kind in _AS_THEY_ARE or (kind is int and -_SHORT < item < _SHORT)):
            return False
    return True


def plain_fields(values: dict[str, Any], path: str) -> dict[str, Any]:
    """As `plain` for each value of a dict that is a set of fields: it is no value itself, so never a tagged one.

    Raises:
        Unstorable: see `plain`.
    """
    return {
        _text_key(key, path): item
        if type(item) in _AS_THEY_ARE  # most are; this runs at each save
        else plain(item, f"{path}.{key}" if path else key, 1)
        for key, item in values.items()
    }


def rich_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `plain_fields` was given; for the errors see `rich`."""
    return {
        key: item if type(item) in _AS_THEY_ARE else rich(item, 1)  # most are
        for key, item in values.items()
    }


def _readable(number: int, path: str) -> int:
    if number.bit_length() > _SURELY_SHORT and abs(number) >= 10**MAX_DIGITS:
        raise Unstorable(path, f"an integer of more than {MAX_DIGITS} digits; store it as text or bytes")
    return number


def _finite(number: float, path: str) -> float:
    if math.isfinite(number):
        return number
    raise Unstorable(path, f"{number} is not a JSON number; store None or text instead")


def _plain_dict(value: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        result[_text_key(key, path)] = plain(item, f"{path}.{key}" if path else key, depth + 1)
    if len(result) == 1:
        ((key, content),) = result.items()
        if _TAGGED.fullmatch(key) and _is_ours(key, content):
            return {f"${key}": content}
    return result


def _text_key(key: Any, path: str) -> str:
    if type(key) is str:
        return key
    raise Unstorable(path, f"the key {key!r} is {type(key).__name__}; JSON keys are text, use {str(key)!r}")


def _tag(value: Any, path: str) -> dict[str, Any]:
    if type(value) is datetime:
        return {"$datetime": value.isoformat()}
    if type(value) is UUID:
        return {"$uuid": str(value)}
    if type(value) is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Enum) and value.name in type(value).__members__:
        kind = type(value)
        return {"$enum": [f"{kind.__module__}:{kind.__qualname__}", value.name]}
    raise Unstorable(path, f"{type(value).__module__}.{type(value).__qualname__} is not a JSON value; {_HINT}")


_HINT = "store text, a number, a bool, None, a list, a dict, or a datetime, UUID, Enum or bytes"


def _untag(key: str, content: Any, depth: int) -> Any:
    if key.startswith("$$"):
        return {key[1:] if _is_ours(key, content) else key: rich(content, depth + 1)}
    value = _READ[key](content)
    return {key: rich(content, depth + 1)} if value is None else value


def _is_ours(key: str, content: Any) -> bool:
    """Whether `_untag` would turn this object into something else, so that it must be escaped."""
    return _READ["$" + key.lstrip("$")](content) is not None


def _read_datetime(content: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(content)
    except (TypeError, ValueError):
        return None
    return moment if moment.isoformat() == content else None


def _read_uuid(content: Any) -> UUID | None:
    try:
        value = UUID(content)
    except (TypeError, ValueError, AttributeError):
        return None
    return value if str(value) == content else None


def _read_bytes(content: Any) -> bytes | None:
    try:
        value = base64.b64decode(content, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
    return value if base64.b64encode(value).decode() == content else None


def _read_enum(content: Any) -> Enum | StoredEnum | None:
    match content:
        case [str() as where, str() as name] if ":" in where:
            module, _, qualname = where.partition(":")
        case _:
            return None
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):  # by vars(): getattr could make a module import another
        found = getattr(found, "__dict__", {}).get(part)
    if isinstance(found, type) and issubclass(found, Enum) and name in found.__members__:
        return found[name]
    return StoredEnum({"$enum": content})


_READ: dict[str, Callable[[Any], Any]] = {
    "$datetime": _read_datetime,
    "$uuid": _read_uuid,
    "$bytes": _read_bytes,
    "$enum": _read_enum,
}
