"""Finding the answer to one question among the messages that a flow's server keeps of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from ..backends import Message
from ..session import Execution, Turn
from ..session.times import seconds
from .ledger import CLOCKS_DIFFER, Ledger, moment_of, said

LONGEST_RUN = 3600.0  # seconds; a question without an answer for so long gets none


def answer_to(execution: Execution, turns: Sequence[Turn], messages: Sequence[Message]) -> str | None:
    """What the server answered to the question of an execution; None if it did not, or if that is not certain.

    Each turn on record accounts for one question and one answer: the same may have been asked more than once,
    and others may have been answered before an answer that came late. What no turn accounts for is looked
    through. Where two questions wait there at the same time, nobody knows which of them an answer belongs to.

    Args:
        execution: whose answer is looked for; its ``started_at`` says where among the turns it belongs.
        turns: the session's turns on record, oldest first.
        messages: what the server has of the conversation, oldest first.
    """
    question, begun = said(execution.question), seconds(execution.started_at)
    left = _unaccounted(messages, turns, begun) if question else []
    for number, asked in enumerate(left):
        if not asked.by_user or asked.text != question or not asked.may_follow(begun):
            continue
        other = left[number - 1] if number else None
        answers = list(takewhile(lambda each: not each.by_user, left[number + 1 :]))
        if answers and (other is None or not other.by_user or other.is_over(begun)):
            return answers[-1].text  # those before it said how far it was
    return None


@dataclass(frozen=True, slots=True)
class _Said:
    """A message, when it was said (None: that is not known), and whether it stands behind all earlier turns."""

    text: str
    by_user: bool
    at: float | None
    behind: bool

    def may_follow(self, begun: float) -> bool:
        """Whether it may have been said after a moment."""
        return self.behind if self.at is None else self.at >= begun - CLOCKS_DIFFER

    def is_over(self, begun: float) -> bool:
        """Whether, as a question, it had no answer to wait for any more at a moment."""
        return self.at is not None and self.at < begun - LONGEST_RUN


def _unaccounted(messages: Sequence[Message], turns: Sequence[Turn], begun: float) -> list[_Said]:
    """The messages that are of no turn on record."""
    ledger = Ledger(messages)
    for turn in turns:
        if seconds(turn.timestamp) <= begun:
            ledger.account_for(turn)
    end_of_earlier = max(ledger.taken, default=-1)
    for turn in reversed(turns):
        if seconds(turn.timestamp) > begun:
            ledger.account_for(turn, last=True)
    return [
        _Said(said(message.text), message.role == "user", moment_of(message), place > end_of_earlier)
        for place, message in enumerate(messages)
        if place not in ledger.taken
    ]
