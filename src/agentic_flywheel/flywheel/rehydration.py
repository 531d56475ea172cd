"""What is told again with a question, since the flow's server lacks it of the conversation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ..backends import Flow, Question, Replay
from ..manager import SessionManager
from ..recent import Recent
from ..session import History, Turn, parse_time
from ..session.times import format_time
from .budget import can_be_told, size_of, within
from .lacking import lacking
from .server_side import NotTold, ServerSide

COMPARED = 75  # turns; the messages of more are not given at once by every server
MORE_MESSAGES = 50  # that may be there beside those of the turns that are compared
CLOCKS_AND_ZONES = timedelta(days=1)  # by so much the times of a server may differ, whatever is wrong with them


@dataclass(frozen=True, slots=True)
class Recall:
    """What is told again with a question: ``replay``, if anything; ``of`` is how many turns the session has.

    ``certain``: whether it is known that the server lacks this and nothing else.
    """

    of: int
    replay: Replay | None = None
    certain: bool = True

    def note(self) -> dict[str, int]:
        """What the execution says of it; ``bytes`` are those of questions and answers, in UTF-8."""
        turns = self.replay.turns if self.replay else ()
        return {"turns": len(turns), "bytes": size_of(turns), "of": self.of}


@dataclass(frozen=True, slots=True)
class _Side:
    """What is known of a server's side: which turns it lacks, in which period, and of how many in all."""

    lacks: frozenset[str]
    period: object
    of: int

    def is_as_it_was(self, flow: Flow, period: object, history: History) -> bool:
        """Whether the server was there ever since, and got all turns that were added."""
        added = history.older + len(history) - self.of
        if self.period is not period or not 0 <= added <= len(history):
            return False
        return not added or all(turn.flow_id == flow.id for turn in history[-added:])


class Rehydrator:
    """Finds out what is to be told again, and remembers it.

    A server is asked for its messages where it may have been restarted or replaced since it last answered in the
    conversation, and where other flows were asked meanwhile. So an ordinary turn costs no further call.
    """

    def __init__(self, sessions: SessionManager, servers: ServerSide) -> None:
        self._sessions = sessions
        self._servers = servers
        self._sides: defaultdict[str, Recent[_Side]] = defaultdict(Recent)

    async def recall(self, flow: Flow, question: Question) -> Recall:
        """What is told again with a question: the turns that the flow's server lacks of the newest, within budget.

        Turns that another flow answered are among them: the conversation is one.
        """
        history = question.session.history
        total = history.older + len(history)
        period = flow.period if total and flow.replay_turns else None
        if period is None:
            return Recall(total)
        side = self._sides[flow.id].get(question.conversation)
        if side is not None and side.is_as_it_was(flow, period, history):
            if not side.lacks:
                return Recall(total)
            turns = [turn for turn in await self._newest(flow, question) if _name(turn) in side.lacks]
            return Recall(total, within(Replay.of_all(turns), flow.replay_bytes) if turns else None)
        return await self._compared(flow, question, side, total)

    def answered(self, flow: Flow, question: Question, recall: Recall) -> None:
        """Remember what a server has now that it answered a question with which this was told again."""
        period = flow.last_period
        if period is None or not recall.certain:
            return
        again = recall.replay.before if recall.replay and not flow.keeps_told else ()
        side = _Side(frozenset(map(_name, again)), period, recall.of + 1)
        self._sides[flow.id].put(question.conversation, side)

    async def _compared(self, flow: Flow, question: Question, side: _Side | None, total: int) -> Recall:
        """What its server lacks by what it says; if it does not say, by what is known."""
        turns, certain = await self._newest(flow, question), True
        try:
            replay = await self._lacking(flow, question, turns)
        except NotTold as error:
            certain = error.refused
            known = [
                turn
                for turn in turns
                if (turn.flow_id != flow.id if error.refused else side is not None and _name(turn) in side.lacks)
            ]
            told = [turn for turn in known if can_be_told(turn)]
            replay = Replay.of_all(told) if told else None
        return Recall(total, within(replay, flow.replay_bytes) if replay else None, certain)

    async def _lacking(self, flow: Flow, question: Question, turns: Sequence[Turn]) -> Replay | None:
        """Those of the turns that the flow's server lacks.

        Raises:
            NotTold: it does not say what it has.
        """
        compared = turns[-COMPARED:]
        messages = await self._servers.messages(
            flow, question.conversation, newest=2 * len(compared) + MORE_MESSAGES, since=_before(compared)
        )
        if messages:
            return lacking(compared, messages, flow.id)
        told = [turn for turn in turns if can_be_told(turn)]
        return Replay.of_all(told) if told else None

    async def _newest(self, flow: Flow, question: Question) -> list[Turn]:
        """The newest turns that may be told again."""
        history = question.session.history
        if len(history) < flow.replay_turns and history.older:  # the flow wants to see fewer than it is told again
            loaded = await self._sessions.load(question.session.id, last=flow.replay_turns)
            history = loaded.session.history if loaded.session is not None else history
        return history[-flow.replay_turns :]


def _before(turns: Sequence[Turn]) -> str | None:
    """A moment from which on a server has the messages of these turns, if it has them."""
    oldest = parse_time(turns[0].timestamp) if turns else None
    try:
        return format_time(oldest - CLOCKS_AND_ZONES) if oldest else None
    except OverflowError:  # others may have written any time
        return None


def _name(turn: Turn) -> str:
    return turn.id if isinstance(turn.id, str) else f"{turn.timestamp} {turn.question}"
