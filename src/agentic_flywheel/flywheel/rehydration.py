"""What goes along with a question where the flow's server has lost its side of the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from ..backends import Flow, Question
from ..manager import SessionManager
from ..session import History, Turn
from .server_side import told


@dataclass(frozen=True, slots=True)
class Replay:
    """Earlier turns that a flow is told again, oldest first.

    ``size`` is in bytes, their questions and answers in UTF-8; ``of`` is how many turns the session has.
    """

    turns: Sequence[Turn]
    size: int
    of: int

    def note(self) -> dict[str, int]:
        """What the execution says of it."""
        return {"turns": len(self.turns), "bytes": self.size, "of": self.of}


async def replay_for(flow: Flow, question: Question, sessions: SessionManager) -> Replay | None:
    """The turns to tell again, within the flow's budget; None where its server has its side, or may have it.

    Turns that another flow answered are among them: the conversation is one.
    """
    history = question.session.history
    total = history.older + len(history)
    if not total or not flow.replay_turns:
        return None
    if not await told(flow, flow.has_forgotten(question.conversation), instead=False):
        return None
    if len(history) < flow.replay_turns and history.older:  # the flow wants to see fewer than it is told again
        loaded = await sessions.load(question.session.id, last=flow.replay_turns)
        history = loaded.session.history if loaded.session is not None else history
    turns, size = _within(history, flow.replay_turns, flow.replay_bytes)
    return Replay(turns, size, total)


def _within(history: History, count: int, limit: int) -> tuple[list[Turn], int]:
    """Of so many newest turns those that have texts to tell, as far as the bytes allow; and their bytes."""
    kept: list[Turn] = []
    size = 0
    for turn in islice(reversed(history), count):
        texts = (turn.question, turn.response)
        if not all(isinstance(text, str) and text for text in texts):  # others write turns of another shape
            continue
        needed = sum(len(text.encode(errors="surrogatepass")) for text in texts)
        if size + needed > limit:
            break
        kept.append(turn)
        size += needed
    return kept[::-1], size
