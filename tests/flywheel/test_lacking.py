"""Which turns a server lacks is told by the texts of its messages; where those are others, by more than these."""

from __future__ import annotations

import pytest

from agentic_flywheel.backends import Message, Replay
from agentic_flywheel.backends.earlier import asked, with_preface
from agentic_flywheel.flywheel.budget import CUT, within
from agentic_flywheel.flywheel.lacking import lacking
from agentic_flywheel.session import Turn


def turn(number: int, question: str | None = None, response: str | None = None, flow: str = "flow") -> Turn:
    """Asked a minute after the one before it."""
    return Turn(
        id=f"turn_{number}",
        timestamp=f"2026-01-01T00:{number:02}:00.000000Z",
        question=question or f"q{number}",
        response=response or f"a{number}",
        flow_id=flow,
        duration_ms=1000,
    )


TURNS = [turn(number) for number in range(6)]


def messages(*numbers: int) -> list[Message]:
    """Those of the turns with these numbers."""
    return [message for number in numbers for message in exchange(f"q{number}", f"a{number}", number)]


def exchange(question: str, answer: str, minute: int, second: int = 0) -> list[Message]:
    at = f"2026-01-01T00:{minute:02}:{second:02}.000Z"
    return [asked(question, at), Message("assistant", answer, at)]


def told(turns: list[Turn], there: list[Message]) -> tuple[list[str], int, int, bool] | None:
    replay = lacking(turns, there, "flow")
    if replay is None:
        return None
    return [str(each.question) for each in replay.turns], replay.first, replay.last, replay.begun


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((0, 1, 2, 3, 4, 5), None),
        ((0, 1, 2, 3), (["q4", "q5"], 0, 2)),
        ((2, 3, 4, 5), (["q0", "q1"], 2, 0)),
        ((0, 1, 4, 5), (["q2", "q3"], 0, 0)),
        ((2, 3), (["q0", "q1", "q4", "q5"], 2, 2)),
        ((), (["q0", "q1", "q2", "q3", "q4", "q5"], 6, 6)),
        ((5, 4, 3, 2, 1, 0), None),
    ],
)
def test_where_they_stand(there: tuple[int, ...], expected: tuple[list[str], int, int] | None) -> None:
    """Before all that the server has, behind it, or between; whatever the order in which that was answered."""
    assert told(TURNS, messages(*there)) == ((*expected, False) if expected else None)


def test_a_server_that_has_older_turns() -> None:
    """What it has of turns that are not compared comes before those."""
    older = exchange("long ago", "yes", 0)
    assert told(TURNS[3:], [*older, *messages(4, 5)]) == (["q3"], 0, 0, False)
    assert told(TURNS[3:], older) == (["q3", "q4", "q5"], 0, 3, False)


def test_a_question_without_its_answer() -> None:
    """Where a telling broke off; not where a later turn was answered."""
    half = messages(4)[:1]
    assert told(TURNS, [*messages(0, 1, 2, 3), *half]) == (["q4", "q5"], 0, 2, True)
    assert told(TURNS, [*messages(0, 1, 2, 3), *half, *messages(5)]) == (["q4"], 0, 0, False)
    assert told(TURNS[4:], half) == (["q4", "q5"], 0, 2, True)


def test_the_same_said_more_than_once() -> None:
    """Each turn needs messages of its own."""
    turns = [turn(number, "ping", "pong") for number in range(4)]
    there = [message for number in range(3) for message in exchange("ping", "pong", number)]
    assert told(turns, there) == (["ping"], 0, 1, False)
    assert told(turns, [*there, *exchange("ping", "pong", 9)]) is None


def test_an_answer_that_the_server_has_in_other_words() -> None:
    """As several messages, or as its own form of what we have as text."""
    there = [*messages(0), *exchange("q1", "{json}", 1), Message("assistant", "and more"), *messages(2)]
    assert told(TURNS[:3], there) is None


def test_a_question_that_the_server_has_in_other_words() -> None:
    """As a recording that it wrote down, for example; the turn is told by its time, if the flow is the server's."""
    there = [*messages(0), *exchange("queue won", "ay won", 1, 1), *messages(2)]
    assert told(TURNS[:3], there) is None
    assert told([TURNS[0], turn(1, flow="another"), TURNS[2]], there) == (["q1"], 0, 0, False)
    assert told([TURNS[0], turn(3), TURNS[2]], there) is not None


def test_what_was_told_before_a_question() -> None:
    """A turn that stands in the text of a later question is known to the server."""
    there = [*messages(0), *exchange(with_preface(TURNS[1:3], "q3"), "a3", 3)]
    assert told(TURNS[:4], there) is None
    assert told(TURNS[:5], there) == (["q4"], 0, 1, False)


def test_a_turn_that_was_cut_off() -> None:
    """It is known to the server as far as it was told."""
    long = turn(1, "why " * 500, "because " * 500)
    replay = within(Replay.of_all([long]), 1000)
    assert replay is not None
    (cut,) = replay.turns
    assert told([long], exchange(cut.question, cut.response, 9)) is None


def test_turns_that_cannot_be_told() -> None:
    """Neither those are lacking, nor do they say where others stand."""
    foreign = Turn(role="user", content="hi")
    assert told([foreign, *TURNS[:2]], messages(0, 1)) is None
    assert told([foreign], []) is None
    assert told([TURNS[0], foreign, TURNS[1]], messages(0)) == (["q1"], 0, 1, False)


class TestBudget:
    """How much is told again."""

    def test_the_newest_that_fit(self) -> None:
        replay = within(Replay(TURNS, first=2, last=3), 4 * len("q0a0"))
        assert replay is not None
        assert [each.question for each in replay.turns] == ["q2", "q3", "q4", "q5"]
        assert (replay.first, replay.last) == (0, 3)

    @pytest.mark.parametrize(("asked", "answered"), [(5000, 5000), (10, 5000), (5000, 10)])
    def test_one_that_is_too_long(self, asked: int, answered: int) -> None:
        """It is cut off, and says so; the text that is short enough stays whole."""
        turns = [TURNS[0], turn(1, "ü" * asked, "ä" * answered)]
        replay = within(Replay.of_all(turns), 1000)
        assert replay is not None
        (cut,) = replay.turns
        texts = [cut.question, cut.response]
        assert 990 <= sum(len(text.encode()) for text in texts) <= 1000
        assert [text.endswith(CUT) for text in texts] == [asked > 1000, answered > 1000]
        assert (cut.id, replay.first, replay.last) == ("turn_1", 1, 1)
        assert turns[1].question == "ü" * asked

    def test_too_little_to_be_understood(self) -> None:
        assert within(Replay.of_all([turn(1, "why " * 500)]), 100) is None
