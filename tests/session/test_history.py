"""A history is a list that knows what is stored of it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentic_flywheel import History, Turn, UniversalSession
from agentic_flywheel.errors import Unstorable
from agentic_flywheel.jsontext import decode, encode
from tests.support.values import exactly

NOT_JSON = b"this line would not parse"


def lines(*names: str) -> list[bytes]:
    return [encode({"id": name, "parts": [name], "text": name}) for name in names]


def names(turns: Sequence[Any]) -> list[Any]:
    return [turn["id"] for turn in turns]


def save(history: History, stored: list[bytes], others: Sequence[bytes] = ()) -> list[bytes]:
    """What a store holds after a save, as a manager does it; ``others`` were there first."""
    known, written = history.stored_lines(), history.new_lines()
    if known is None:
        after, start = [*stored[: history.older], *written], 0
    else:
        after, start = [*stored, *others, *written], len(stored)
    history.adopt(start, after[start:], written)
    return after


def pickled(history: History) -> History:
    again: History = pickle.loads(pickle.dumps(history))  # noqa: S301  # our own
    return again


@pytest.fixture
def history() -> History:
    return History.of_lines(lines("a", "b", "c"))


EDITS: dict[str, Callable[[Any], object]] = {
    "set a field": lambda h: h[0].__setitem__("text", "new"),
    "set a field to a value that Python finds equal": lambda h: h[1].__setitem__("text", True),
    "remove a field": lambda h: h[0].__delitem__("text"),
    "update": lambda h: h[0].update(text="new"),
    "or": lambda h: h[0].__ior__({"text": "new"}),
    "setdefault": lambda h: h[0].setdefault("more", 1),
    "pop": lambda h: h[0].pop("text"),
    "popitem": lambda h: h[0].popitem(),
    "clear a turn": lambda h: h[0].clear(),
    "change an inner list": lambda h: h[2]["parts"].append("new"),
    "change an inner value to an equal one": lambda h: h[1]["parts"].__setitem__(0, 1),
    "replace a turn": lambda h: h.__setitem__(0, {"id": "new"}),
    "replace turns": lambda h: h.__setitem__(slice(0, 2), [{"id": "new"}]),
    "remove a turn": lambda h: h.__delitem__(1),
    "remove turns": lambda h: h.__delitem__(slice(1)),
    "insert": lambda h: h.insert(1, {"id": "new"}),
    "reverse": lambda h: h.reverse(),
    "pop a turn": lambda h: h.pop(0),
    "clear": lambda h: h.clear(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("read_first", [False, True])
@pytest.mark.parametrize(
    "twin", [lambda h: h, copy.copy, copy.deepcopy, History.copy], ids=["it", "copy", "deep", "own"]
)
def test_edits(
    history: History, edit: Callable[[Any], object], read_first: bool, twin: Callable[[History], History]
) -> None:
    """Every way to change an earlier turn is noticed, in a history and in its copies, and is written whole."""
    twin(history).append({"id": "d"})
    if read_first:
        list(history)
    edited = twin(history)
    plain: list[Any] = [dict(decode(encode(turn))) for turn in edited]
    edit(edited)
    edit(plain)
    assert edited == plain
    assert edited.stored_lines() is None
    assert [decode(line) for line in edited.new_lines()] == plain


def test_an_equal_inner_value_is_another() -> None:
    """A change from 1 to True or 1.0 deep inside a turn is a change, although Python calls them equal."""
    for value in (True, 1.0):
        history = History.of_lines([b'{"inner":{"n":1}}'])
        history[0]["inner"]["n"] = value
        assert history.stored_lines() is None
        assert exactly(decode(history.new_lines()[0])) == exactly({"inner": {"n": value}})


def test_reading_changes_nothing(history: History) -> None:
    """Reading, comparing and iterating leave what is stored as it is."""
    assert history == [decode(line) for line in lines("a", "b", "c")]
    assert names(history[::-1]) == ["c", "b", "a"]
    assert history[1] in history
    assert history.index(history[2]) == 2
    assert history.stored_lines() == lines("a", "b", "c")
    assert history.new_lines() == []


def test_lines_that_others_formatted() -> None:
    """A line in another format than ours is no edit when it is read."""
    line = b'{ "id": "a", "parts": [1,  2.50] }'
    history = History.of_lines([line])
    assert history[0]["parts"] == [1, 2.5]
    assert history.stored_lines() == [line]


def test_only_what_is_read_is_parsed() -> None:
    """Length, appending, the last turns, saving and adopting do not parse the other lines."""
    history = History.of_lines([*[NOT_JSON] * 1000, *lines("y", "z")])
    assert len(history) == 1002
    assert names(history[-2:]) == ["y", "z"]
    assert history[1001].id == "z"
    history.append({"id": "new"})
    assert history[-1].id == "new"
    written = history.new_lines()
    stored = history.stored_lines()
    assert stored is not None
    assert len(stored) == 1002
    assert history.fresh_at_end() == len(history.fresh_turns()) == 1
    history.adopt(1002, [NOT_JSON, *written], written)
    assert names(history[-1:]) == ["new"]
    assert len(copy.copy(history)) == len(copy.deepcopy(history)) == 1004
    assert bool(history)
    assert repr(history) == "<History of 1004 turns>"
    with pytest.raises(ValueError, match=r"."):
        history[0]


def test_adopt_keeps_the_turns_of_others_in_their_places(history: History) -> None:
    """After a save that was rebased, the turns of others stand where the store has them."""
    mine = Turn(id="mine")
    history.append(mine)
    save(history, lines("a", "b", "c"), others=lines("theirs"))
    assert names(history) == ["a", "b", "c", "theirs", "mine"]
    assert history[-1] is mine
    assert history.new_lines() == []


def test_turns_that_callers_hold_stay_items() -> None:
    """A turn that was recorded or read stays the same object after saves, and its edits are noticed."""
    history = History.of_lines(lines("a"))
    read, recorded = history[0], Turn(id="b", text="b")
    history.append(recorded)
    stored = save(history, lines("a"))
    assert history[0] is read
    assert history[1] is recorded
    history.adopt(0, [*lines("x"), *stored], [])
    assert names(history) == ["x", "a", "b"]
    assert history[1] is read
    recorded["text"] = "new"
    read["text"] = "newer"
    assert [turn["text"] for turn in history[1:]] == ["newer", "new"]
    assert history.stored_lines() is None


def test_twins_stay_two() -> None:
    """Two turns that say the same stay two objects when they are stored."""
    history = History([{"role": "user"}, {"role": "user"}])
    save(history, [])
    history[0]["role"] = "system"
    assert history == [{"role": "system"}, {"role": "user"}]


def test_turns_recorded_during_a_save() -> None:
    """What is appended while a save is under way is new afterwards, and nothing else is."""
    history = History([{"id": "a"}])
    written = history.new_lines()
    history.append({"id": "b"})
    history.adopt(0, written, written)
    assert [decode(line)["id"] for line in history.new_lines()] == ["b"]
    assert names(history) == ["a", "b"]


def test_an_edit_during_a_save_is_seen() -> None:
    """A turn that is edited while a save is under way changes the number of edits."""
    history = History([{"id": "a"}])
    before = history.edits
    history.new_lines()
    history[0]["text"] = "new"
    assert history.edits != before


def test_fresh_turns_after_edits(history: History) -> None:
    """After edits, fresh turns are those that no store has had: not those that were moved, edited or put back."""
    history.append({"id": "d"})
    history.append({"id": "e"})
    del history[-1]
    history[0]["text"] = "edited"
    moved = history.pop(1)
    history.insert(0, {"id": "f"})
    history.append(dict(moved))
    history.append({"no": "id"})
    assert names(history.fresh_turns()[:-1]) == ["f", "d"]
    assert history.fresh_turns()[-1] == {"no": "id"}
    assert history.fresh_at_end() == 1
    assert history.stored_ids() == {"a", "b", "c"}


def test_a_turn_in_two_histories() -> None:
    """A turn that stands in two histories tells both when it is changed."""
    turn = Turn(id="a")
    one, other = History([turn]), History([turn])
    for each in (one, other):
        save(each, [])
        assert each.stored_lines() is not None
    turn["text"] = "new"
    assert one.stored_lines() is None
    assert other.stored_lines() is None


@pytest.mark.parametrize("again", [copy.deepcopy, pickled])
def test_copies_notice_edits_of_turns_that_were_read(history: History, again: Callable[[History], History]) -> None:
    """A copy of a history whose turns were read notices edits as the original does."""
    list(history)
    twin = again(history)
    twin[0]["text"] = "new"
    assert twin.stored_lines() is None
    assert history.stored_lines() == lines("a", "b", "c")


def test_older_turns_stay_out_of_the_list() -> None:
    """Turns that were not loaded stay in the store: they are no items, before and after appends and edits."""
    stored = lines("a", "b", "c", "d")
    history = History.of_lines(stored[2:], older=2)
    assert repr(history) == "<History of 2 turns, 2 older ones not loaded>"
    history.append({"id": "e"})
    stored = save(history, stored)
    history[0]["text"] = "edited"
    written = history.new_lines()
    history.adopt(0, [*stored[:2], *written], written)
    assert names(history) == ["c", "d", "e"]
    assert history.older == 2
    assert history.stored_lines() == written


def test_older_turns_that_others_removed() -> None:
    """Where others removed some of the turns that were not loaded, the list stays as it is all the same."""
    history = History.of_lines(lines("c", "d"), older=2)
    history.append({"id": "e"})
    history.adopt(0, [*lines("b", "c", "d"), *history.new_lines()], history.new_lines())
    assert names(history) == ["c", "d", "e"]
    assert history.older == 1


def test_a_bad_value_is_named_by_its_place() -> None:
    """A value that JSON cannot hold is named with its turn's place in the whole conversation."""
    history = History.of_lines(lines("c"), older=2)
    history.append({"text": object()})
    with pytest.raises(Unstorable, match=r"^history\[3\]\.text: "):
        history.new_lines()


def test_places_beyond_the_end(history: History) -> None:
    """A place beyond the end is an IndexError, as in a list."""
    for place in (3, -4):
        with pytest.raises(IndexError):
            history[place]


def test_a_history_is_no_key(history: History) -> None:
    """A history has no hash and is unequal to what is no list."""
    with pytest.raises(TypeError):
        hash(history)
    assert history != "abc"
    assert history != lines("a", "b", "c")


TURNS = st.fixed_dictionaries(
    {"text": st.integers(0, 3)},
    optional={"id": st.sampled_from("abc"), "parts": st.lists(st.integers(0, 2), max_size=2)},
)
PLACES = st.integers(-6, 6)


class HistoryMachine(RuleBasedStateMachine):
    """A history beside a plain list, and a store that a manager keeps up to date with it."""

    def __init__(self) -> None:
        super().__init__()
        self.plain: list[dict[str, Any]] = []
        self.history = UniversalSession(backend="custom").history
        self.stored: list[bytes] = []

    @rule(turn=TURNS)
    def append(self, turn: dict[str, Any]) -> None:
        self.history.append(copy.deepcopy(turn))
        self.plain.append(copy.deepcopy(turn))

    @rule(turns=st.lists(TURNS, max_size=3))
    def extend(self, turns: list[dict[str, Any]]) -> None:
        self.history.extend(Turn(turn) for turn in copy.deepcopy(turns))
        self.plain.extend(copy.deepcopy(turns))

    @rule(place=PLACES, turn=TURNS)
    def insert(self, place: int, turn: dict[str, Any]) -> None:
        self.history.insert(place, Turn(copy.deepcopy(turn)))
        self.plain.insert(place, copy.deepcopy(turn))

    @rule(place=PLACES)
    def delete(self, place: int) -> None:
        self._both(lambda turns: turns.__delitem__(place))

    @rule(start=PLACES, stop=PLACES)
    def delete_slice(self, start: int, stop: int) -> None:
        self._both(lambda turns: turns.__delitem__(slice(start, stop)))

    @rule(start=PLACES, stop=PLACES, turns=st.lists(TURNS, max_size=3))
    def set_slice(self, start: int, stop: int, turns: list[dict[str, Any]]) -> None:
        self._both(lambda items: items.__setitem__(slice(start, stop), copy.deepcopy(turns)))

    @rule(place=PLACES, turn=TURNS)
    def replace(self, place: int, turn: dict[str, Any]) -> None:
        self._both(lambda turns: turns.__setitem__(place, copy.deepcopy(turn)))

    @rule(place=PLACES, value=st.integers(0, 3))
    def edit_field(self, place: int, value: int) -> None:
        self._both(lambda turns: turns[place].__setitem__("text", value))

    @rule(place=PLACES, value=st.integers(0, 3))
    def edit_inner_list(self, place: int, value: int) -> None:
        self._both(lambda turns: turns[place].get("parts", []).append(value))

    @rule()
    def save(self) -> None:
        self.stored = save(self.history, self.stored)

    @rule(turn=TURNS)
    def save_after_others(self, turn: dict[str, Any]) -> None:
        if self.history.stored_lines() is not None:
            self.plain.insert(len(self.stored), copy.deepcopy(turn))
            self.stored = save(self.history, self.stored, others=[encode(turn)])

    @rule()
    def load_again(self) -> None:
        self.save()
        self.history = History.of_lines(self.stored)

    @rule(twin=st.sampled_from([copy.copy, copy.deepcopy, History.copy]))
    def go_on_with_a_copy(self, twin: Callable[[History], History]) -> None:
        self.history = twin(self.history)

    @rule(start=PLACES, stop=PLACES)
    def read(self, start: int, stop: int) -> None:
        assert self.history[start:stop] == self.plain[start:stop]

    @invariant()
    def same_length(self) -> None:
        assert len(self.history) == len(self.plain)

    @invariant()
    def a_save_would_store_the_list(self) -> None:
        twin = copy.copy(self.history)  # so that the history itself is read only where a rule reads it
        known = twin.stored_lines()
        written = [decode(line) for line in twin.new_lines()]
        assert ([] if known is None else [decode(line) for line in known]) + written == self.plain

    def teardown(self) -> None:
        assert self.history == self.plain
        assert list(self.history) == self.plain

    def _both(self, change: Callable[[Any], object]) -> None:
        """Make a change to both; where a list refuses it, so does a history."""
        try:
            change(self.plain)
        except IndexError:
            with pytest.raises(IndexError):
                change(self.history)
        else:
            change(self.history)


TestHistoryMachine = HistoryMachine.TestCase
