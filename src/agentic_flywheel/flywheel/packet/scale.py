"""What the parts of a packet weigh in the forms in which it is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...jsontext import encode
from .model import HEADINGS, Packet, entry_line
from .telling import told
from .tokens import weight_of

Form = Literal["json", "text"]


@dataclass(frozen=True, slots=True)
class Scale:
    """Weighs parts in the heavier one of these forms: JSON (`Packet.to_dict`), text (`Packet.to_text`).

    So each form by itself weighs no more than all of its parts: whoever gets several reads one of them. A text is
    weighed as a JSON string: that is how it is sent, and the escapes make it no lighter. Whatever is put together
    of parts weighs no more than they do.
    """

    forms: Collection[Form]

    def _heavier(self, data: Any, text: str) -> int:
        json = weight_of([data]) if "json" in self.forms else 0  # the brackets stand for a comma
        return max(json, weight_of(f"{text}\n") if "text" in self.forms else 0)

    def frame(self, packet: Packet) -> int:
        """A packet without any of the parts below."""
        return self._heavier(packet.to_dict(), packet.to_text() + HEADINGS)

    def entry(self, key: str, value: Any, cut: bool = False) -> int:
        """A key of the context, and its name among those that were cut."""
        named = self._heavier(f"context.{key}", "") if cut else 0
        return named + self._heavier({key: value}, entry_line(key, value))

    def name(self, key: str) -> int:
        """The name of a key that is left out."""
        return self._heavier(key, f"{key}, ")

    def turn(self, turn: Mapping[str, Any]) -> int:
        """A turn word for word."""
        return self._heavier(turn, told(turn))

    def field(self, name: str, value: Any, cut: bool = False) -> int:
        """A field, of a turn for example; the text tells no more of it than its JSON."""
        return self._heavier({name: value}, encode({name: value}).decode())

    def line(self, line: str) -> int:
        """A turn in a line, or another line."""
        return self._heavier(line, line)
