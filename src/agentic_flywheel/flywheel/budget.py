"""How much of what was said earlier is told again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..backends import Replay
from ..session import Turn

CUT = " … [cut off here, it was longer]"
LEAST = 200  # bytes; of less than this nothing could be understood


def can_be_told(turn: Turn) -> bool:
    """Whether a turn has the two texts that are told again; others write turns of another shape."""
    return all(isinstance(text, str) and text for text in (turn.question, turn.response))


def size_of(turns: Sequence[Turn]) -> int:
    """Bytes of the questions and answers of turns, in UTF-8."""
    return sum(len(_bytes(text)) for turn in turns for text in (turn.question, turn.response))


def within(replay: Replay, limit: int) -> Replay | None:
    """Of turns to tell again the newest ones of so many bytes together; None if there are none.

    A turn is told whole or not at all. Only the newest one is cut off where it is too long itself, and says so.
    """
    size = count = 0
    for turn in reversed(replay.turns):
        size += size_of([turn])
        if size > limit:
            break
        count += 1
    if count:
        return replay.newest(count)
    if limit < LEAST:
        return None
    newest = replay.newest(1)
    return replace(newest, turns=[cut_to(newest.turns[0], limit)])


def cut_to(turn: Turn, limit: int) -> Turn:
    """A turn whose texts have so many bytes together; each gets half of them, and what the other does not need."""
    asked, answered = len(_bytes(turn.question)), len(_bytes(turn.response))
    for_question = max(limit // 2, limit - answered)
    question = _cut(turn.question, for_question)
    response = _cut(turn.response, limit - min(asked, for_question))
    return Turn(turn, question=question, response=response)


def is_cut_of(text: str, whole: object) -> bool:
    """Whether a text is another one, cut off."""
    return text.endswith(CUT) and isinstance(whole, str) and whole.startswith(text.removesuffix(CUT))


def _cut(text: str, limit: int) -> str:
    if len(_bytes(text)) <= limit:
        return text
    return _bytes(text)[: limit - len(_bytes(CUT))].decode(errors="ignore") + CUT


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
