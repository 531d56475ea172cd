"""The answer to a question is found among a server's messages only where it is certain which one it is."""

from __future__ import annotations

import pytest

from agentic_flywheel.backends import Message
from agentic_flywheel.flywheel.matching import answer_to
from agentic_flywheel.session import Execution, Turn

ASKED_AT = 5  # seconds; turns and messages have theirs, too


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:09.6f}Z"


def turn(second: float, question: object, response: object) -> Turn:
    return Turn(id=f"turn_{second}", timestamp=at(second), question=question, response=response)


def exchange(question: str, answer: str, second: float | None = None) -> list[Message]:
    timestamp = at(second) if second is not None else None
    return [Message("user", question, timestamp), Message("assistant", answer, timestamp)]


def found(messages: list[Message], turns: list[Turn] | None = None, question: object = "why") -> str | None:
    return answer_to(Execution(question=question, started_at=at(ASKED_AT)), turns or [], messages)


@pytest.mark.parametrize("second", [None, ASKED_AT, ASKED_AT + 1])
def test_the_answer(second: float | None) -> None:
    """It stands behind the question, among others, whether the server says when or not."""
    messages = [*exchange("one", "1", 1), *exchange("why", "because", second), *exchange("two", "2", 6)]
    assert found(messages) == "because"


def test_no_answer_yet() -> None:
    """A question that the server has, and no answer behind it; or none at all."""
    assert found([]) is None
    assert found(exchange("one", "1")) is None
    assert found([*exchange("one", "1"), Message("user", "why")]) is None
    assert found([Message("user", "why"), *exchange("one", "1")]) is None
    assert found([Message("assistant", "because")]) is None


def test_questions_that_overlap() -> None:
    """Where two questions wait for answers at the same time, nobody knows which of them one belongs to."""
    both = [Message("user", "why"), Message("user", "one")]
    answers = [Message("assistant", "1"), Message("assistant", "because")]
    assert found([*both, *answers]) is None
    assert found([*both[::-1], *answers]) is None
    assert found([*both[::-1], *answers, *exchange("why", "really")]) == "really"


def test_a_question_that_never_got_an_answer() -> None:
    """It keeps others from being settled as long as it may still get one: for an hour."""
    for minutes, answer in ((1, None), (59, None), (61, "because")):
        unanswered = Message("user", "one", f"2025-12-31T{22 if minutes > 60 else 23}:{-minutes % 60:02}:00Z")
        assert found([unanswered, *exchange("why", "because", ASKED_AT)]) == answer


def test_turns_that_were_settled_out_of_order() -> None:
    """A turn before ours was answered after it: it accounts for its own messages only."""
    turns = [turn(1, "one", "1"), turn(2, "late", "2"), turn(3, "three", "3")]
    messages = [*exchange("one", "1", 1), *exchange("three", "3", 3), *exchange("why", "because", 5)]
    assert found([*messages, *exchange("late", "2", 2)], turns) == "because"


def test_an_answer_that_came_after_another_turn() -> None:
    """What the other turn said is no longer in question: what is left belongs together."""
    turns = [turn(6, "one", "1")]
    both = [Message("user", "why"), Message("user", "one"), Message("assistant", "1")]
    assert found(both, turns) is None
    assert found([*both, Message("assistant", "because")], turns) == "because"
    assert found([*exchange("one", "1"), *exchange("why", "because")], turns) == "because"


def test_space_around_texts() -> None:
    """Servers may cut it off."""
    assert found(exchange("why", "because"), question="  why\n") == "because"


def test_several_answers_in_a_row() -> None:
    """The last one is the answer."""
    assert found([*exchange("why", "let me see"), Message("assistant", "because")]) == "because"


def test_an_earlier_turn_of_the_same_question() -> None:
    """Its answer is its own: only a second one is ours."""
    turns = [turn(1, "why", "because"), turn(2, "one", "1")]
    before = [*exchange("why", "because", 1), *exchange("one", "1", 2)]
    assert found(before, turns) is None
    assert found([*before, *exchange("why", "because", 5)], turns) == "because"
    assert found([*before, *exchange("why", "really", 5)], turns) == "really"


def test_a_later_turn_of_the_same_question() -> None:
    """It was asked again before anybody looked: the later answer belongs to the later turn."""
    turns = [turn(8, "why", "because")]
    assert found(exchange("why", "because", 8), turns) is None
    assert found([*exchange("why", "because", 5), *exchange("why", "because", 8)], turns) == "because"
    assert found([*exchange("why", "first", 5), *exchange("why", "because", 8)], turns) == "first"


@pytest.mark.parametrize("timed", [True, False], ids=["with times", "without times"])
def test_always_the_same(timed: bool) -> None:
    """Where all turns say the same, the server has to have one more than is on record."""
    turns = [turn(second, "ping", "pong") for second in (1, 2, 3, 7, 8)]
    messages = [
        message for second in (1, 2, 3, 7, 8) for message in exchange("ping", "pong", second if timed else None)
    ]
    assert found(messages, turns, "ping") is None
    messages[6:6] = exchange("ping", "pong", ASKED_AT if timed else None)
    assert found(messages, turns, "ping") == "pong"


def test_a_question_that_was_given_up_before() -> None:
    """An answer from before the question was asked is not its answer, though no turn accounts for it."""
    assert found(exchange("why", "because", 1)) is None
    turns = [turn(2, "one", "1")]
    assert found([*exchange("why", "because"), *exchange("one", "1")], turns) is None


def test_clocks() -> None:
    """The server's clock may differ a little; one that keeps whole seconds is behind by up to one."""
    assert found(exchange("why", "because", ASKED_AT - 1.5)) == "because"
    assert found(exchange("why", "because", ASKED_AT - 2.5)) is None
    assert (
        found([Message("user", "why", "2026-01-01 00:00:05.1 UTC"), Message("assistant", "because")]) == "because"
    )
    assert found([Message("user", "why", "2026-01-01 00:00:01.0 UTC"), Message("assistant", "because")]) is None
    assert found([Message("user", "why", "at noon"), Message("assistant", "because")]) == "because"


def test_a_server_that_lost_what_was_before() -> None:
    """Turns that it no longer has do not keep the answer from being found."""
    turns = [turn(1, "one", "1"), turn(2, "two", "2")]
    assert found(exchange("why", "because", 5), turns) == "because"
    assert found([*exchange("two", "2", 2), *exchange("why", "because", 5)], turns) == "because"


def test_turns_of_another_shape() -> None:
    """Turns without texts account for nothing, and a question that is no text has no answer."""
    turns = [Turn(role="user", content="why"), turn(1, {"image": "…"}, None)]
    assert found(exchange("why", "because", 5), turns) == "because"
    assert found(exchange("", "because", 5), question={"image": "…"}) is None
