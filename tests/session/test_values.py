"""Values of a session come back exactly as they went in, or are refused by name."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, IntEnum, IntFlag
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given

from agentic_flywheel.errors import BadInput, Unstorable
from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.session import Turn
from agentic_flywheel.session.values import (
    MAX_DEPTH,
    MAX_DIGITS,
    StoredEnum,
    plain,
    plain_fields,
    rich,
    rich_fields,
)
from tests.support.values import Colour, exactly, session_values


class Level(IntEnum):
    LOW = 1


class Access(IntFlag):
    READ = 1
    WRITE = 2


class Word(str):
    __slots__ = ()


class Outer:
    class Inner(Enum):
        HERE = "here"


WHERE = UUID("12345678-1234-5678-1234-567812345678")
PARIS = timezone(timedelta(hours=1))

FORMS = [
    (datetime(2025, 11, 18, 10, tzinfo=PARIS), {"$datetime": "2025-11-18T10:00:00+01:00"}),
    (datetime(2025, 11, 18, 10, 0, 0, 5), {"$datetime": "2025-11-18T10:00:00.000005"}),
    (WHERE, {"$uuid": "12345678-1234-5678-1234-567812345678"}),
    (b"\xde\xad\xbe\xef", {"$bytes": "3q2+7w=="}),
    (b"", {"$bytes": ""}),
    (Colour.RED, {"$enum": ["tests.support.values:Colour", "RED"]}),
    (Level.LOW, {"$enum": ["tests.session.test_values:Level", "LOW"]}),
    (Outer.Inner.HERE, {"$enum": ["tests.session.test_values:Outer.Inner", "HERE"]}),
]

LOOK_ALIKES = [
    {"$datetime": "2025-11-18T10:00:00+01:00"},
    {"$uuid": str(WHERE)},
    {"$bytes": "3q2+7w=="},
    {"$enum": ["tests.support.values:Colour", "RED"]},
    {"$enum": ["nowhere:Colour", "RED"]},
    {"$$enum": ["nowhere:Colour", "RED"]},
    {"$$$bytes": "3q2+7w=="},
    {"$bytes": {"$bytes": "3q2+7w=="}},
    {"$datetime": "2025-11-18"},
    {"$datetime": 5},
    {"$uuid": "{12345678-1234-5678-1234-567812345678}"},
    {"$bytes": "3q2+7w"},
    {"$enum": ["no colon", "RED"]},
    {"$enum": "text"},
    {"$other": "3q2+7w=="},
    {"$bytes": "3q2+7w==", "more": 1},
]

REFUSED: list[tuple[Any, str, str]] = [
    ({"user": {"socket": object()}}, "context.user.socket", "builtins.object is not a JSON value"),
    ({"list": [1, {"set": {1}}]}, "context.list[1].set", "builtins.set"),
    ({"pair": (1, 2)}, "context.pair", "builtins.tuple"),
    ({"nan": float("nan")}, "context.nan", "nan is not a JSON number"),
    ({"far": [float("inf")]}, "context.far[0]", "inf is not a JSON number"),
    ({"least": -float("inf")}, "context.least", "-inf is not a JSON number"),
    ({"by": {1: "one"}}, "context.by", "the key 1 is int; JSON keys are text, use '1'"),
    ({"none": {None: "none"}}, "context.none", "the key None is NoneType"),
    ({"key": {Word("key"): 1}}, "context.key", "is Word"),
    ({"word": Word("text")}, "context.word", "test_values.Word is not a JSON value"),
    ({"ordered": OrderedDict(a=1)}, "context.ordered", "collections.OrderedDict"),
    ({"when": date(2025, 11, 18)}, "context.when", "datetime.date"),
    ({"flags": Access.READ | Access.WRITE}, "context.flags", "test_values.Access"),
    ({"array": bytearray(b"x")}, "context.array", "builtins.bytearray"),
    ({"number": 10**MAX_DIGITS}, "context.number", "more than 4000 digits"),
    ({"less": -(10**5000)}, "context.less", "more than 4000 digits"),
]


def there_and_back(value: Any) -> Any:
    return rich(decode(encode(plain(value, "context"))))


def nested(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


@given(session_values())
def test_round_trip(value: Any) -> None:
    """Whatever a session may hold comes back with its types, digits and order, through real JSON text."""
    assert exactly(there_and_back(value)) == exactly(value)


@given(session_values())
def test_fields_round_trip(value: Any) -> None:
    """A dict of fields comes back too, whatever its only field is called."""
    for name in ("$uuid", "$$enum", "field"):
        fields = {name: value}
        assert exactly(rich_fields(decode(encode(plain_fields(fields, ""))))) == exactly(fields)


@pytest.mark.parametrize(("value", "form"), FORMS, ids=str)
def test_forms(value: Any, form: Any) -> None:
    """Each type that JSON lacks has its documented form, and is read back from it."""
    assert plain(value, "context") == form
    assert exactly(rich(form)) == exactly(value)


@pytest.mark.parametrize("value", LOOK_ALIKES, ids=str)
def test_look_alikes(value: Any) -> None:
    """A caller's dict that looks like one of our forms stays the caller's dict, at any depth."""
    for outer in (value, [value], {"inner": value}, {"$bytes": value}, {"$$datetime": [value]}):
        assert exactly(there_and_back(outer)) == exactly(outer)


def test_fields_are_never_values() -> None:
    """A set of fields whose only field is called like one of our forms is not taken for a value."""
    fields = {"$uuid": str(WHERE)}
    assert plain_fields(fields, "") == fields
    assert rich_fields(fields) == fields


def test_moments_keep_their_offset() -> None:
    """A datetime comes back with the offset that it had, or with none."""
    for moment in (datetime(1, 1, 1), datetime.max.replace(tzinfo=UTC), datetime(2025, 1, 1, tzinfo=PARIS)):
        again = there_and_back(moment)
        assert (again, again.utcoffset()) == (moment, moment.utcoffset())


def test_an_enum_that_is_not_imported_is_kept() -> None:
    """An enum member whose class is not imported is written back as it was, and nothing is imported for it."""
    form = {"$enum": ["antigravity:Colour", "RED"]}
    value = rich(form)
    assert type(value) is StoredEnum
    assert plain(value, "context") == form
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("where", ["tests.support.values:Colour", "builtins:print", "enum:Enum", "sys:modules"])
def test_an_enum_that_is_unknown_is_kept(where: str) -> None:
    """What names no member of an enum here stays as it was stored."""
    form = {"$enum": [where, "PURPLE"]}
    assert type(rich(form)) is StoredEnum
    assert plain(rich(form), "context") == form


def test_enums_cross_processes() -> None:
    """A member is found again by a process that has imported its class."""
    program = (
        "import json, sys; from agentic_flywheel.session.values import rich;"
        "from tests.support.values import Colour;"
        "print(rich(json.loads(sys.argv[1])) is Colour.GREEN)"
    )
    form = encode(plain(Colour.GREEN, "context"))
    done = subprocess.run([sys.executable, "-c", program, form], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(("value", "path", "problem"), REFUSED, ids=[path for _, path, _ in REFUSED])
def test_refusals(value: Any, path: str, problem: str) -> None:
    """Anything else is refused with the path that leads to it, never turned into text."""
    with pytest.raises(Unstorable) as caught:
        plain(value, "context")
    assert caught.value.path == path
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_refusals_say_what_to_store_instead() -> None:
    """The message about a value of a wrong type lists the types that there are."""
    with pytest.raises(Unstorable, match="store text, a number, a bool, None, a list, a dict, or a datetime, UUID"):
        plain({1, 2}, "context.set")


def test_turns_are_values() -> None:
    """A turn that is put into the context is stored as the dict that it is."""
    turn = Turn(id="turn_1", question="what?")
    assert there_and_back({"last": turn}) == {"last": {"id": "turn_1", "question": "what?"}}


def test_long_integers() -> None:
    """An integer of as many digits as are allowed comes back to the last digit."""
    longest = 10**MAX_DIGITS - 1
    assert there_and_back([longest, -longest]) == [longest, -longest]


def test_depth() -> None:
    """Values nest as deep as the limit says; beyond it they are refused, and so is reading them."""
    assert there_and_back(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    with pytest.raises(Unstorable, match=r"nested more than 200 levels deep"):
        plain(nested(MAX_DEPTH + 2), "context")
    with pytest.raises(BadInput, match=r"nested more than 200 levels deep"):
        rich(nested(MAX_DEPTH + 2))


def test_a_value_that_holds_itself() -> None:
    """A list that holds itself is refused, not followed for ever."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Unstorable, match="nested more than"):
        plain({"endless": endless}, "context")


def test_reading_does_not_guess() -> None:
    """A text that could be a datetime, a UUID or base64 stays text."""
    value = ["2025-11-18T10:00:00", str(uuid4()), "3q2+7w=="]
    assert exactly(there_and_back(value)) == exactly(value)
