"""Which turns the server of a flow lacks, told by the messages that it has."""

from __future__ import annotations

from collections.abc import Sequence

from ..backends import Message, Replay
from ..session import Turn
from .budget import can_be_told
from .ledger import Ledger


def lacking(turns: Sequence[Turn], messages: Sequence[Message], flow_id: str) -> Replay | None:
    """Those of the turns that are not among a server's messages; None if all are.

    Turns that other flows answered are lacking there, too: the conversation is one. One of its own may be there in
    other words: what a server keeps of a question need not be what it was asked, nor of an answer what it gave.

    Args:
        turns: the newest turns of the session, oldest first.
        messages: what the server has of them, and maybe more, oldest first.
        flow_id: the flow that is on that server.
    """
    ledger = Ledger(messages)

    def by_time(turn: Turn) -> bool:
        return turn.flow_id == flow_id and ledger.account_by_time(turn)

    lost = [place for place, turn in enumerate(turns) if can_be_told(turn)]
    for is_there in (ledger.account_for, ledger.account_by_question, ledger.tells, by_time):  # the surest first
        lost = [place for place in lost if not is_there(turns[place])]
    if not lost:
        return None
    kept = [place for place, turn in enumerate(turns) if can_be_told(turn) and place not in lost]
    told = [turns[place] for place in lost]
    first = _before(lost, kept, ledger)
    last = len(lost) if not kept else sum(place > kept[-1] for place in lost)
    return Replay(told, first, last, begun=last == len(lost) and ledger.is_left_open(told[0]))


def _before(lost: Sequence[int], kept: Sequence[int], ledger: Ledger) -> int:
    """How many of the turns that are lost come before all that the server has."""
    if not ledger.messages:
        return len(lost)
    if not kept or 0 not in ledger.taken:  # its oldest message is of a turn before them
        return 0
    return sum(place < kept[0] for place in lost)
