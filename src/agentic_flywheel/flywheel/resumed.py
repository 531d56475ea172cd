"""What a conversation is resumed with."""

from __future__ import annotations

from dataclasses import dataclass

from ..manager import Interrupted
from ..session import UniversalSession


@dataclass(frozen=True, slots=True)
class Resumed:
    """A session to go on with.

    ``behind`` says that the store is away and that this is what is known on this machine. ``interrupted`` is the
    question that was asked last, if it was never answered: its process died, it was cancelled, or no answer
    arrived. It is not run again unasked.
    """

    session: UniversalSession
    behind: bool
    interrupted: Interrupted | None
