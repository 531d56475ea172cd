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
    """Weighs parts in all of these forms together: JSON (`Packet.to_dict`), text (`Packet.to_text`).

    A text is weighed as a JSON string: that is how it is sent, and the escapes make it no lighter. Whatever is
    put together of parts weighs no more than they do.
    """

    forms: Collection[Form]

    def _both(self, data: Any, text: str) -> int:
        json = weight_of([data]) if "json" in self.forms else 0  # the brackets stand for a comma
        return json + (weight_of(f"{text}\n") if "text" in self.forms else 0)

    def frame(self, packet: Packet) -> int:
        """A packet without any of the parts below."""
        return self._both(packet.to_dict(), packet.to_text() + HEADINGS)

    def entry(self, key: str, value: Any, cut: bool = False) -> int:
        """A key of the context, and its name among those that were cut."""
        named = self._both(f"context.{key}", "") if cut else 0
        return named + self._both({key: value}, entry_line(key, value))

    def name(self, key: str) -> int:
        """The name of a key that is left out."""
        return self._both(key, f"{key}, ")

    def turn(self, turn: Mapping[str, Any]) -> int:
        """A turn word for word."""
        return self._both(turn, told(turn))

    def field(self, name: str, value: Any, cut: bool = False) -> int:
        """A field, of a turn for example; the text tells no more of it than its JSON."""
        return self._both({name: value}, encode({name: value}).decode())

    def line(self, line: str) -> int:
        """A turn in a line, or another line."""
        return self._both(line, line)
