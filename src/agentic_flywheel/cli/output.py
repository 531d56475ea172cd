"""Printing: JSON for programs, plain lines and tables for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

UNLIMITED = 10_000  # columns: what is piped into another program is not cut


def print_json(value: Any) -> None:
    """Print a value of JSON types as one line of JSON."""
    from ..jsontext import encode

    print_bytes(encode(value) + b"\n")


def print_bytes(data: bytes) -> None:
    """Write bytes to stdout exactly as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def console(*, stderr: bool = False) -> Console:
    """Where people read: what is printed is text, square brackets and all."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNLIMITED
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def printable(value: Any) -> str:
    """Text that does nothing to a terminal: control characters, which a stored text may hold, are shown as �."""
    from ..jsontext import encode

    text = value if isinstance(value, str) else encode(value).decode()
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def print_text(text: str, *, end: str = "\n") -> None:
    """Print text of others at once: to a terminal it does nothing, and a pipe gets it as it is."""
    print(printable(text) if sys.stdout.isatty() else text, end=end, flush=True)


def table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print rows under their column names; None is an empty cell."""
    from rich.table import Table

    # The first column is what people copy: it is never cut.
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        drawn.add_column(column, no_wrap=place == 0, overflow="fold")
    for row in rows:
        drawn.add_row(*("" if cell is None else printable(cell) for cell in row))
    console().print(drawn)
