"""JSON text goes in and comes out exactly."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given

from agentic_flywheel.errors import BadInput
from agentic_flywheel.jsontext import decode, encode
from tests.support.values import exactly, json_values

NO_JSON = [
    "",
    " ",
    "{",
    '{"a":1',
    "[1,]",
    '{"a":1} more',
    "nothing",
    "01",
    "'single'",
    '"\x01"',
    '"raw\nnewline"',
    "\ufeff{}",
    "NaN",
    "[Infinity]",
    "-Infinity",
    "1e999",
    "[-1E400]",
    "1" * 5000,
    "[" * 100_000 + "]" * 100_000,
]
NO_TEXT = [b"\xff", b'"\xed\xa0\x80"', b'{"a":"\xc3"}', b"\x00"]


@given(json_values())
def test_round_trip(value: Any) -> None:
    """Any JSON value comes back with its types and its digits, on one line that any JSON reader reads."""
    data = encode(value)
    assert b"\n" not in data
    assert exactly(decode(data)) == exactly(value)
    assert exactly(decode(data.decode())) == exactly(value)
    assert exactly(json.loads(data)) == exactly(value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**64, 10**400, 5e-324, 1.7976931348623157e308, 1e16, 0.1])
def test_numbers(value: float) -> None:
    """Numbers beyond 64 bits and at the ends of the floats keep every digit."""
    assert exactly(decode(encode([value, -value]))) == exactly([value, -value])


def test_minus_zero() -> None:
    """Minus zero keeps its sign."""
    assert math.copysign(1, decode(encode(-0.0))) == -1


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udfff\ud800", "🙂\ud83d", "\u2028\n\r\t\x00\x1f\x7f"])
def test_odd_characters(text: str) -> None:
    """Lone surrogates and control characters come back, as values and as keys, beside any other text."""
    value = {text: [text, "é🙂"]}
    data = encode(value)
    assert decode(data) == value
    assert b"\n" not in data


def test_a_split_pair_is_refused() -> None:
    """A surrogate pair as two characters would come back as one, so it is refused."""
    with pytest.raises(BadInput, match="surrogate pair"):
        encode({"text": "\ud83d\ude42"})


@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: repr(text)[:20])
def test_what_is_no_json(text: str) -> None:
    """What is not JSON, is truncated, too deep or out of range is a ValueError, as text and as bytes."""
    for data in (text, text.encode()):
        with pytest.raises(ValueError, match=r"."):
            decode(data)


@pytest.mark.parametrize("data", NO_TEXT)
def test_what_is_no_text(data: bytes) -> None:
    """Bytes that are not UTF-8 are a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        decode(data)


def test_too_deep_to_encode() -> None:
    """A value that nests too deeply to be written is refused in words."""
    value: Any = None
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadInput, match="nested too deeply"):
        encode(value)
    with pytest.raises(BadInput, match="nested too deeply"):
        encode(["\ud800", value])
