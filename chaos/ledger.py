"""What a writer noted of its saves and loads, in a file that outlives it.

Each note is one line and one ``write(2)``: what is written stays, also when the writer is killed right after.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .stopwatch import Wait


class Intent(msgspec.Struct, tag="intent", frozen=True):
    """A turn that is about to be saved. ``context`` says that the writer's own key of the context is set to it."""

    session: str
    number: int
    id: str
    digest: str
    context: bool


class Answer(msgspec.Struct, tag="answer", frozen=True):
    """What ``save_session`` said of a turn."""

    id: str
    outcome: str
    wait: Wait


class Load(msgspec.Struct, tag="load", frozen=True):
    """A session was loaded; ``wrong`` says what was not true in the answer."""

    session: str
    state: str
    wait: Wait
    wrong: str = ""


class Raised(msgspec.Struct, tag="raised", frozen=True):
    """A call raised."""

    what: str
    error: str


ACCEPTED = ("stored", "journalled")
Note = Intent | Answer | Load | Raised

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Note] = msgspec.json.Decoder(Note)


class Ledger:
    """The ledger of one writer; whoever comes after it under its name goes on in the same file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, note: Note) -> None:
        """Add a line; it is with the system when this returns."""
        os.write(self._file, _encoder.encode(note) + b"\n")


def notes_in(path: Path) -> Iterator[Note]:
    """What is noted in a ledger, in order."""
    if path.exists():
        with path.open("rb") as lines:
            yield from map(_decoder.decode, lines)


class Tally:
    """How many turns have been accepted by now; each look reads only what was noted since the last one."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._read = dict.fromkeys(paths, 0)
        self._accepted = 0

    def accepted(self) -> int:
        """The turns whose save said stored or journalled."""
        for path in self._read:
            for note in self._new_notes(path):
                self._accepted += isinstance(note, Answer) and note.outcome in ACCEPTED
        return self._accepted

    def _new_notes(self, path: Path) -> Iterator[Note]:
        if not path.exists():
            return
        with path.open("rb") as lines:
            lines.seek(self._read[path])
            for line in lines:
                if line.endswith(b"\n"):  # else it is being written just now
                    self._read[path] += len(line)
                    yield _decoder.decode(line)


def digest(turn: Mapping[str, Any]) -> str:
    """What tells a turn from any other, and from itself after a change."""
    return hashlib.sha256(json.dumps(turn, sort_keys=True).encode()).hexdigest()
