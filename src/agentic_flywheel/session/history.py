"""The turns of a session, oldest first: a list that parses only what somebody reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import Any, overload

from ..secrecy import PLAIN, Form
from .lines import GrowingLines, common_beginning
from .turn import Turn
from .values import are_plain_fields, plain_fields, rich_fields


class History(MutableSequence[Turn]):
    """The turns of a session as a list of `Turn`.

    What came from a store stays bytes until it is read, one JSON object a line. Appending, ``len`` and
    reading the last turns cost the same at any length. Changing, inserting or deleting an earlier turn is
    noticed, and the next save writes the whole history; so is a change inside a turn's own lists and
    dicts, for which every turn that was read and has such values is compared again at each save.

    ``older`` counts the turns at the beginning that were not loaded (``load_session(id, last=20)``); they
    are in the store, are no items of this list, and are kept by every save.

    A history belongs to one session (``owned``); another one that it is assigned to gets a copy, as of a list.

    Lines are read and written in ``form``; the turns in hand keep what they hold.
    """

    __slots__ = ("_added", "_deep", "_edited", "_edits", "_had", "_lines", "_read", "form", "older", "owned")

    def __init__(self, turns: Iterable[Mapping[str, Any]] = (), *, older: int = 0) -> None:
        self.older = older
        self.owned = False
        self.form: Form = PLAIN
        self._lines = GrowingLines()  # as stored
        self._read: dict[int, Turn] = {}  # of those lines, what was handed out
        self._deep: dict[int, Turn] = {}  # of those, what can be changed without telling us
        self._added: list[Turn] = [_turn(turn) for turn in turns]
        self._edited = False  # the lines no longer say what the history is; all turns are in _added
        self._edits = 0
        self._had: list[Turn] = []  # then: what the lines were

    @classmethod
    def of_lines(cls, lines: Sequence[bytes], *, older: int = 0, form: Form = PLAIN) -> History:
        """The history that a store holds: one JSON object a line, not yet parsed."""
        history = cls(older=older)
        history.form = form
        history._lines = GrowingLines(lines)
        return history

    def stored_lines(self) -> Sequence[bytes] | None:
        """The lines that this history goes on from, or None where it has to be written whole."""
        self._notice_inner_changes()
        return None if self._edited else self._lines

    def fresh_turns(self) -> list[Turn]:
        """The turns that no store has had yet."""
        if not self._edited:
            return list(self._added)
        objects, ids = {id(turn) for turn in self._had}, self.stored_ids()
        return [turn for turn in self._added if id(turn) not in objects and text_id(turn) not in ids]

    def fresh_at_end(self) -> int:
        """How many turns at the end no store has had yet."""
        if not self._edited:
            return len(self._added)
        fresh = {id(turn) for turn in self.fresh_turns()}
        stored = [place for place, turn in enumerate(self._added, 1) if id(turn) not in fresh]
        return len(self._added) - max(stored, default=0)

    def stored_ids(self) -> set[str]:
        """The ids of the turns that this history goes on from, as they were before any edit; reads them all."""
        turns = self._had if self._edited else (self._at(place) for place in range(len(self._lines)))
        return {name for name in map(text_id, turns) if name is not None}

    def copy(self) -> History:
        """As `list.copy`: another history with the same turns, which says the same of what is stored."""
        twin = History(older=self.older)
        twin.__setstate__((None, {name: getattr(self, name) for name in self.__slots__}))
        twin._lines, twin._read, twin._deep = self._lines.copy(), dict(self._read), dict(self._deep)
        twin._added, twin._had = list(self._added), list(self._had)
        return twin

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        for turn in self._read.values():  # copied turns know of no history
            turn.watched_by(self._edit)

    def rewrite(self, form: Form) -> None:
        """Have the stored lines in another form, for another store or another session."""
        if form != self.form:
            lines = [form.rewrite("turn", line, self.form) for line in self._lines]
            self._lines.cut_and_extend(0, lines)
            self.form = form

    def _parsed(self, line: bytes) -> Turn:
        return Turn(rich_fields(self.form.read("turn", line)))

    def new_lines(self) -> list[bytes]:
        """The turns that no store has yet (all of them, after an edit), as lines.

        Raises:
            Unstorable: a turn holds a value that JSON cannot; names the path (``history[3].response``).
        """
        first = self.older + len(self._lines)
        return [self._line(turn.watched_by(self._edit), first + place) for place, turn in enumerate(self._added)]

    def _line(self, turn: Turn, place: int) -> bytes:
        fields = turn if are_plain_fields(turn) else plain_fields(turn, f"history[{place}]")
        return self.form.write("turn", fields)

    @property
    def edits(self) -> int:
        """Another number after each change of an earlier turn."""
        return self._edits

    def adopt(self, start: int, lines: Sequence[bytes], written: Sequence[bytes]) -> None:
        """Go on from what a store now holds: ``lines``, from its turn number ``start`` on.

        ``written`` are the lines that were written of the new turns; others may stand before, between or
        after them. The `Turn` objects that callers hold stay items of this list, and turns that were not
        loaded stay out of it.
        """
        if start < self.older:
            start, lines = self._without_hidden(start, lines, written)
        self.older = min(self.older, start)
        kept = start - self.older
        if kept < len(self._lines) and not self._edited:
            same = common_beginning(self._lines[kept:], list(lines))
            kept, lines = kept + same, lines[same:]
        if kept == len(self._lines) and not self._edited and list(lines) == written:
            self._go_on_alone(written)
            return
        held = self._held(kept, written)
        del self._added[: len(written)]
        self._forget_from(kept)
        self._lines.cut_and_extend(kept, lines)
        self._edited, self._had = False, []
        for place, line in enumerate(lines, kept):
            if held.get(line):
                self._hand_out(place, held[line].pop(0))

    def _go_on_alone(self, written: Sequence[bytes]) -> None:
        """As `adopt`, where nobody else wrote: what was added is stored."""
        turns, first = self._added[: len(written)], len(self._lines)
        del self._added[: len(written)]
        self._lines.extend(written)
        for place, turn in enumerate(turns, first):
            self._hand_out(place, turn)

    def _without_hidden(
        self, start: int, lines: Sequence[bytes], written: Sequence[bytes]
    ) -> tuple[int, Sequence[bytes]]:
        """What a store holds from a turn on that was not loaded, without those before our first one."""
        first = [*self._lines[:1], *written[:1]][:1]
        if not first or first[0] not in lines:
            return start, lines
        hidden = lines.index(first[0])
        self.older = start + hidden
        return start + hidden, lines[hidden:]

    def _forget_from(self, start: int) -> None:
        for place in range(start, len(self._lines)):
            self._read.pop(place, None)
            self._deep.pop(place, None)

    def _hand_out(self, place: int, turn: Turn) -> Turn:
        self._read[place] = turn.watched_by(self._edit)
        if not turn.is_flat:
            self._deep[place] = turn
        return turn

    def _held(self, start: int, written: Sequence[bytes]) -> dict[bytes, list[Turn]]:
        """By line: the turns from place ``start`` on that callers may hold."""
        held = defaultdict(list)
        for place in range(start, len(self._lines)):
            if place in self._read:
                held[self._lines[place]].append(self._read[place])
        for line, turn in zip(written, self._added, strict=False):
            held[line].append(turn)
        return held

    def __len__(self) -> int:
        return len(self._lines) + len(self._added)

    @overload
    def __getitem__(self, index: int) -> Turn: ...
    @overload
    def __getitem__(self, index: slice) -> list[Turn]: ...
    def __getitem__(self, index: int | slice) -> Turn | list[Turn]:
        if isinstance(index, slice):
            return [self._at(place) for place in range(len(self))[index]]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[Turn]:
        place = 0
        while place < len(self):
            yield self._at(place)
            place += 1

    def __setitem__(self, index: Any, value: Any) -> None:
        self._edit()
        if isinstance(index, slice):
            self._added[index] = [_turn(turn) for turn in value]
        else:
            self._added[index] = _turn(value)

    def __delitem__(self, index: int | slice) -> None:
        self._edit()
        del self._added[index]

    def insert(self, index: int, value: Mapping[str, Any]) -> None:
        """As `list.insert`; at the end it is an append."""
        if index < len(self) and len(self):
            self._edit()
            self._added.insert(index, _turn(value))
        else:
            self.append(value)

    def append(self, value: Mapping[str, Any]) -> None:
        """As `list.append`."""
        self._added.append(_turn(value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, History | list):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # a list has none either

    def __repr__(self) -> str:
        older = f", {self.older} older ones not loaded" if self.older else ""
        return f"<History of {len(self)} turns{older}>"

    def _at(self, place: int) -> Turn:
        if place >= len(self._lines):
            return self._added[place - len(self._lines)]
        turn = self._read.get(place)
        return turn if turn is not None else self._hand_out(place, self._parsed(self._lines[place]))

    def _edit(self) -> None:
        """Give up the lines: from here on every turn is in hand, to be written again."""
        self._edits += 1
        if self._edited:
            return
        self._had = [self._at(place) for place in range(len(self._lines))]
        self._added = [*self._had, *self._added]
        self._lines, self._read, self._deep, self._edited = GrowingLines(), {}, {}, True

    def _notice_inner_changes(self) -> None:
        for place, turn in self._deep.items():
            if self._differs(turn, self._lines[place], self.older + place):
                self._edit()
                return

    def _differs(self, turn: Turn, line: bytes, place: int) -> bool:
        """Whether a turn would be written otherwise than it was read; by bytes, since 1 == True == 1.0."""
        return self._line(turn, place) not in (line, self._line(self._parsed(line), place))


def text_id(turn: Turn) -> str | None:
    """The id of a turn, if it has one; others may have written anything there."""
    return turn.id if isinstance(turn.id, str) else None


def _turn(value: Mapping[str, Any]) -> Turn:
    return value if type(value) is Turn else Turn(value)
