"""JSON in and out, exactly: what was decoded is what was written, to the last digit and character.

`msgspec` does the work. The standard library takes over for the one thing that valid JSON can hold and
UTF-8 cannot: a lone surrogate (JavaScript writes them when it cuts a string in the middle of an emoji).
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from .errors import BadInput

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """Compact JSON of a value that is made of JSON types only; one line, since JSON escapes newlines.

    The caller has checked the value (see `agentic_flywheel.session.values`): NaN, tuples or integer keys
    would not come back as they went in.

    Raises:
        BadInput: it is nested too deeply, or holds a surrogate pair as two characters: JSON makes one of them.
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encode_slowly(value)
    except RecursionError as error:
        raise BadInput("nested too deeply") from error


def decode(data: bytes | str) -> Any:
    """The value that a JSON text stands for.

    Raises:
        ValueError: it is not JSON, is truncated, is nested too deeply, or holds a number that no float holds.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError):
        return _decode_slowly(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def sendable(value: Any) -> Any:
    """The JSON value as UTF-8 can carry it: half an emoji (others write such) becomes U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [sendable(item) for item in value]
    if isinstance(value, dict):
        return {sendable(key): sendable(item) for key, item in value.items()}
    return value


def _encode_slowly(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        if json.loads(text) != value:
            raise BadInput("a text holds a surrogate pair as two characters; join them into one")
    except RecursionError as error:
        raise BadInput("nested too deeply") from error
    return text.encode()


def _decode_slowly(data: bytes | str) -> Any:
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"number out of range: {digits[:40]}")
    return number
