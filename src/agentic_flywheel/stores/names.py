"""The names under which stores keep things: an id, and in front of it whose it is.

What belongs to nobody is kept under its id alone. An owner is a principal, as a hash. Between the two stands a
control character, which no id may hold: so an id cannot be spelled like another owner's name, and whoever asks
for an id finds what is his own, or nothing.
"""

from __future__ import annotations

import re

BETWEEN = "\x1f"
PRINCIPAL = re.compile(r"[0-9a-f]{32}")


def name_of(owner: str, plain: str) -> str:
    """The name of what an owner has under an id; ``""`` owns what is nobody's."""
    return f"{owner}{BETWEEN}{plain}" if owner else plain


def parts_of(name: str) -> tuple[str, str]:
    """The owner and the id in a name."""
    owner, _, plain = name.rpartition(BETWEEN)
    return owner, plain


def id_of(name: str) -> str:
    """The id in a name."""
    return name.rpartition(BETWEEN)[2]


def shown(name: str) -> str:
    """A name as people read it: ``owner:id``."""
    return name.replace(BETWEEN, ":")
