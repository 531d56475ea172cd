"""Which of the messages that a flow's server keeps are those of turns on record."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..backends import Message
from ..backends.earlier import told_in_text
from ..session import Turn, parse_time
from ..session.times import seconds
from .budget import is_cut_of

CLOCKS_DIFFER = 2.0  # seconds; servers that keep whole ones are off by one of them, too


class Ledger:
    """Which messages turns on record account for; ``taken`` are their places."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.taken: set[int] = set()
        self._places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for place, message in enumerate(messages):
            self._places[message.role, said(message.text)].append(place)

    def account_for(self, turn: Turn, *, last: bool = False) -> bool:
        """Take the first question of a turn that has its answer behind it, or the last one; and that answer.

        False: there is none.
        """
        asked: Iterable[int] = self._places["user", said(turn.question)]
        answers = self._places["assistant", said(turn.response)]
        for place in reversed(list(asked)) if last else asked:
            if place in self.taken:
                continue
            for answer in answers[bisect_left(answers, place) :]:
                if answer not in self.taken:
                    self.taken |= {place, answer}
                    return True
        return False

    def account_by_question(self, turn: Turn) -> bool:
        """Take what is left of a turn's question with an answer in other words behind it; False: there is none."""
        for place in range(len(self.messages) - 1):
            both = {place, place + 1}
            answered = self.messages[place + 1].role == "assistant"
            if answered and self.taken.isdisjoint(both) and self._asks(place, turn):
                self.taken |= both
                return True
        return False

    def account_by_time(self, turn: Turn) -> bool:
        """Take an answer that is left from the time in which a turn was answered; False: there is none."""
        begun = seconds(turn.timestamp)
        took = turn.duration_ms / 1000 if isinstance(turn.duration_ms, int) else 0.0
        for place, message in enumerate(self.messages):
            moment = moment_of(message)
            if message.role != "assistant" or place in self.taken or moment is None:
                continue
            if begun - CLOCKS_DIFFER <= moment <= begun + took + CLOCKS_DIFFER:
                self.taken.add(place)
                return True
        return False

    def tells(self, turn: Turn) -> bool:
        """Whether a turn was told again in the text of a later question."""
        told = told_in_text([turn])
        return any(told in message.told for message in self.messages)

    def is_left_open(self, turn: Turn) -> bool:
        """Whether the last message is the question of a turn, and no answer to it is there."""
        place = len(self.messages) - 1
        return place >= 0 and place not in self.taken and self._asks(place, turn)

    def _asks(self, place: int, turn: Turn) -> bool:
        message = self.messages[place]
        same = said(message.text) == said(turn.question) or is_cut_of(message.text, turn.question)
        return message.role == "user" and same


def moment_of(message: Message) -> float | None:
    """When a message was said, in seconds since 1970; None if that is not known."""
    moment = parse_time((message.timestamp or "").removesuffix(" UTC"))  # as Langflow ends it
    return moment.timestamp() if moment else None


def said(value: object) -> str:
    """A text without the space around it, which servers may cut off."""
    return value.strip() if isinstance(value, str) else ""
