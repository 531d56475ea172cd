"""A packet never costs more than its budget, and loses nothing silently, whatever the session holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentic_flywheel import Flywheel, History, SessionManager, UniversalSession
from agentic_flywheel.backends import FlowRegistry
from agentic_flywheel.backends.recap import RecapFlow
from agentic_flywheel.errors import BadInput, SessionNotFound
from agentic_flywheel.flywheel import Packet, Resumed
from agentic_flywheel.flywheel.packet import Form, estimate_tokens, pack, turns_within
from agentic_flywheel.flywheel.packet.tokens import SIXTHS, weight
from agentic_flywheel.jsontext import encode, sendable
from agentic_flywheel.manager import Interrupted
from agentic_flywheel.session import InFlight
from agentic_flywheel.session.values import plain_fields
from agentic_flywheel.stores import Stored
from agentic_flywheel.stores.memory import MemoryStore
from tests.stores.worlds import World
from tests.support.values import session_values, text

START = datetime(2025, 11, 18, 10, 0, tzinfo=UTC)
FORMS: list[tuple[Form, ...]] = [("json",), ("text",), ("json", "text")]


def session_of(
    turns: Sequence[Mapping[str, Any]] = (), *, older: int = 0, context: dict[str, Any] | None = None, id: str = "s"
) -> UniversalSession:
    """A session as a store gives it back, with these turns loaded."""
    lines = [encode(plain_fields(dict(turn), "turn")) for turn in turns]
    metadata = {"created_at": "2025-11-18T10:00:00Z", "last_active": "2025-11-19T11:30:00Z"}
    history = History.of_lines(lines, older=older)
    return UniversalSession(backend="custom", id=id, context=context or {}, metadata=metadata, history=history)


def turn(number: int, question: Any = "What now?", response: Any = "The next step.") -> dict[str, Any]:
    """A turn as `UniversalSession.record` writes it, a minute after the one before."""
    moment = (START + timedelta(minutes=number)).isoformat()
    return {
        "id": f"turn_{number:032x}",
        "timestamp": moment,
        "question": question,
        "flow_id": "csv2507",
        "response": response,
        "duration_ms": 1234,
    }


def packed(session: UniversalSession, interrupted: Interrupted | None = None, **how: Any) -> Packet:
    return pack(Resumed(session, False, interrupted), **how)


def cost(packet: Packet, forms: Sequence[Form] = ("json", "text")) -> float:
    """What a packet costs whoever reads it as it is sent: as JSON, or its text as a JSON string; in tokens."""
    sent = {"json": packet.to_dict(), "text": packet.to_text()}
    return max(weight(encode(sent[form])) for form in forms) / SIXTHS


def smallest_budget(session: UniversalSession, forms: tuple[Form, ...] = ("json", "text")) -> int:
    """What a refusal says would do."""
    with pytest.raises(BadInput, match="tokens is 10; what names this session takes") as caught:
        packed(session, tokens=10, forms=forms)
    return int(str(caught.value).partition("takes ")[2].partition(" ")[0])


def interruption(question: Any) -> Interrupted:
    return Interrupted(InFlight("turn_1", question, "slow", "2025-11-19T11:29:00Z"), 4.2)


# What sessions may hold


def long_texts() -> st.SearchStrategy[str]:
    """Texts up to some thousand times as long as others, of one kind of character or of any."""
    of_a_kind = st.sampled_from(
        ["word ", "漢字", "\N{PARTY POPPER}", "\n", '"', "\\", "\x00", "é", "0a1B", "\ud83d"]
    )
    return st.builds(lambda part, times: part * times, of_a_kind | text(), st.integers(0, 3000))


def values() -> st.SearchStrategy[Any]:
    return text() | long_texts() | session_values() | st.lists(long_texts(), max_size=3)


def our_turns() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(turn, st.integers(0, 10**6), values(), values())


def turns() -> st.SearchStrategy[dict[str, Any]]:
    """Turns of ours, of another shape, and of ours with anything in their fields."""
    names = st.sampled_from(["id", "timestamp", "question", "flow_id", "response", "role", "content"]) | text()
    return (
        our_turns() | st.dictionaries(names, values(), max_size=5) | st.dictionaries(names, values(), max_size=60)
    )


def sessions() -> st.SearchStrategy[UniversalSession]:
    """Any session: short or long, with a context of any size, and with names of any length."""
    ids = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256)
    heads = st.fixed_dictionaries(
        {},
        optional={
            "status": long_texts(),
            "current_flow_id": long_texts(),
            "metadata": st.dictionaries(
                st.sampled_from(["title", "created_at", "last_active"]), long_texts() | values(), max_size=3
            ),
        },
    )
    return st.builds(
        _changed,
        st.builds(
            session_of,
            st.lists(turns(), max_size=30),
            older=st.integers(0, 10**9),
            context=st.dictionaries(text() | long_texts(), values(), max_size=40),
            id=ids,
        ),
        heads,
    )


def _changed(session: UniversalSession, fields: dict[str, Any]) -> UniversalSession:
    for name, value in fields.items():
        setattr(session, name, value)
    return session


@settings(max_examples=150)
@given(
    session=sessions(),
    asked=st.none() | values(),
    tokens=st.integers(2000, 6000),
    last=st.integers(0, 40),
    forms=st.sampled_from(FORMS),
)
@example(session_of([turn(1, "", "x" * 20_000)]), None, 2000, 10, ("json", "text"))
@example(session_of(context={"k" * 100_000: 1, "": "v" * 100_000}), "q" * 100_000, 2000, 10, ("json", "text"))
@example(session_of([{"k" * 50_000: 1}, {str(n): n for n in range(9000)}]), None, 2000, 10, ("json", "text"))
@example(
    _changed(
        session_of([turn(1)], context={"topic": "t" * 900}, id="\N{PARTY POPPER}" * 256),
        {"status": "漢" * 9000, "current_flow_id": "漢" * 9000, "backend": "B" * 9000},
    ),
    "漢" * 90_000,
    2000,
    10,
    ("json", "text"),
)
@example(session_of([{"role": "user", "content": "\x00" * 9000}]), "\x00'\"" * 3000, 2000, 10, ("text",))
def test_the_budget_holds_and_nothing_is_lost(
    session: UniversalSession, asked: Any, tokens: int, last: int, forms: tuple[Form, ...]
) -> None:
    """Each turn is there word for word, as a line, or counted; each key of the context is there, named, or counted.

    The default budget is enough for any session, whatever its names are.
    """
    interrupted = None if asked is None else interruption(plain_fields({"q": asked}, "")["q"])
    packet = packed(session, interrupted, tokens=tokens, last=last, forms=forms)
    assert cost(packet, forms) <= tokens
    assert_all_turns_are_accounted_for(packet, session, last)
    assert_the_context_is_accounted_for(packet, session)
    assert (packet.interrupted is None) == (asked is None)


def assert_all_turns_are_accounted_for(packet: Packet, session: UniversalSession, last: int) -> None:
    words, lines, counted = len(packet.last_turns), len(packet.earlier_turns), packet.left_out.turns
    assert words + lines + counted == packet.turns == session.history.older + len(session.history)
    assert words <= last
    stored = [sendable(plain_fields(dict(each), "turn")) for each in session.history]
    if "last_turns" in packet.cut:
        assert words == 1
        assert packet.last_turns[0].keys() <= stored[-1].keys()
        assert packet.last_turns[0] != stored[-1]
    elif words:
        assert packet.last_turns == stored[-words:]


def assert_the_context_is_accounted_for(packet: Packet, session: UniversalSession) -> None:
    stored = sendable(plain_fields(session.context, "context"))
    named, further = packet.left_out.context_keys, packet.left_out.further_context_keys
    assert len(packet.context) + len(named) + further == len(session.context)
    assert not set(named) & packet.context.keys()
    for key, value in packet.context.items():
        whole = f"context.{key}" not in packet.cut
        assert (value == stored[key]) == whole
        assert whole or value.endswith(": see more]")


@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("tokens", [1000, 2000, 20_000])
@pytest.mark.parametrize(
    "session",
    [
        session_of(),
        session_of([turn(n, "q" * 100, "r" * 2000) for n in range(1000)], older=4000),
        session_of([turn(1, "q", "x" * 5_000_000)]),
        session_of([turn(1, "漢" * 100_000, "\N{PARTY POPPER}" * 100_000)]),
        session_of([turn(1)], context={"notes": "n" * 2_000_000}),
        session_of([turn(1)], context={"rows": [{"a": n, "b": None} for n in range(20_000)]}),
        session_of([turn(1)], context={f"key {n}": n for n in range(100_000)}),
        session_of([{"role": "user", "content": ["x" * 3_000_000]}]),
        session_of([turn(n, {"deep": [n]}, None) for n in range(50)]),
    ],
    ids=[
        "empty",
        "long",
        "large turn",
        "emoji",
        "large context",
        "deep context",
        "many keys",
        "foreign",
        "no text",
    ],
)
def test_large_sessions_fit(session: UniversalSession, tokens: int, forms: tuple[Form, ...]) -> None:
    """At any budget that a client may ask for, with the last turn there, whole or cut."""
    packet = packed(session, interruption("i" * 1_000_000), tokens=tokens, forms=forms)
    assert cost(packet, forms) <= tokens
    assert len(packet.last_turns) >= min(packet.turns, 1)
    assert packet.interrupted
    assert packet.interrupted.endswith("was interrupted after 4 s in flow slow; not answered")
    assert "interrupted" in packet.cut


@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize(
    "session",
    [
        session_of([turn(n, "q", "r") for n in range(60)], context={f"k{n}": n for n in range(60)}),
        session_of([{"n": n} for n in range(60)], context={"notes": "n" * 10_000}),
        session_of([{"a": "b" * 10_000, "c": "d" * 10_000}], older=10),
        session_of([{"response": "漢字 " * 10_000}]),
        session_of([turn(1, "q", "r" * 10_000)]),
        session_of(context={"notes": "n" * 10_000}),
    ],
    ids=["ours", "tiny", "foreign", "no question", "large", "context"],
)
def test_every_budget_holds(session: UniversalSession, forms: tuple[Form, ...]) -> None:
    """Also where the parts happen to fill it to the brim, or leave next to nothing for the last one."""
    smallest = smallest_budget(session, forms)
    for tokens in (*range(smallest, smallest + 150), *range(smallest + 150, smallest + 1000, 7)):
        assert cost(packed(session, tokens=tokens, last=3, forms=forms), forms) <= tokens


# How the budget is shared


def test_a_short_session_is_there_as_it_is() -> None:
    """Whole, and with not a word about where more is."""
    session = session_of([turn(1), turn(2)], context={"topic": "tension", "n": {"a": [1]}})
    packet = packed(session)
    assert packet.last_turns == [turn(1), turn(2)]
    assert (packet.context, packet.title) == ({"topic": "tension", "n": {"a": [1]}}, "tension")
    assert (packet.earlier_turns, packet.cut, packet.more) == ([], [], None)
    assert (packet.left_out.turns, packet.left_out.since, packet.left_out.until) == (0, None, None)
    assert (packet.created_at, packet.last_active) == ("2025-11-18T10:00:00Z", "2025-11-19T11:30:00Z")


def test_a_long_session_is_there_in_three_grades() -> None:
    """The newest turns word for word, those before in a line each, the first ones as a number with its dates."""
    response = "Creative orientation focuses on what you want to bring into being. " * 4
    session = session_of([turn(n, f"Question number {n}?", response) for n in range(920, 1000)], older=920)
    packet = packed(session, forms=["text"])
    words, lines, rest = len(packet.last_turns), len(packet.earlier_turns), packet.left_out.turns
    assert packet.last_turns == [turn(n, f"Question number {n}?", response) for n in range(1000 - words, 1000)]
    assert words >= 5
    assert lines >= 5
    assert packet.earlier_turns[0].startswith(f"2025-11-{18 + (rest + 600) // 1440} ")
    assert packet.earlier_turns[-1].endswith(
        f"csv2507: Question number {999 - words}? -> Creative orientation focuses on what you wa…"
    )
    assert (packet.left_out.since, rest) == ("2025-11-18 10:00", 1000 - words - lines)
    assert packet.left_out.until == (START + timedelta(minutes=rest - 1)).strftime("%Y-%m-%d %H:%M")
    assert packet.more


def test_the_default_budget_shows_a_conversation() -> None:
    """Several turns with answers of a paragraph each, though a client gets the packet in both forms."""
    response = "Creative orientation focuses on what you want to bring into being. " * 8
    session = session_of(
        [turn(n, f"Question number {n}: what is structural tension about?", response) for n in range(100)]
    )
    packet = packed(session)
    assert len(packet.last_turns) >= 3
    assert len(packet.earlier_turns) >= 15
    assert cost(packet) <= 2000 < cost(packet, ["json"]) + cost(packet, ["text"])


def test_each_turn_that_is_told_has_its_id() -> None:
    """Also in the text, and where it was cut: by its id it can be looked up. One of another shape has none."""
    session = session_of([turn(1), turn(2, "q", "r" * 50_000)])
    for tokens in (2000, 20_000, 50_000):
        packet = packed(session, tokens=tokens)
        for each in packet.last_turns:
            assert f" {each['id']}] question: " in packet.to_text()
    assert "] question: q\nthe answer: r" in packed(session_of([{"question": "q", "response": "r"}])).to_text()


def test_a_larger_budget_shows_more() -> None:
    """More turns word for word, and more in a line; as many as it asks to be loaded, at most."""
    session = session_of([turn(n, f"q{n}", "r " * 200) for n in range(2000)])
    shown = [packed(session, tokens=tokens, last=200) for tokens in (1000, 2000, 4000, 8000, 16_000)]
    for smaller, larger in pairwise(shown):
        assert len(smaller.last_turns) < len(larger.last_turns)
        assert smaller.left_out.turns > larger.left_out.turns
    assert len(shown[-1].last_turns) + len(shown[-1].earlier_turns) < turns_within(16_000)


def test_what_one_does_not_need_another_may_take() -> None:
    """A context alone gets it all; turns without a context do; neither takes what the other is due."""
    large = {"notes": "words and words " * 2000}
    turns_ = [turn(n, "q", "words and words " * 20) for n in range(80)]
    alone = packed(session_of(context=large), forms=["json"])
    both = packed(session_of(turns_, context=large), forms=["json"])
    bare = packed(session_of(turns_), forms=["json"], last=80)
    assert len(alone.context["notes"]) > 4000
    assert 800 < len(both.context["notes"]) < 2000
    assert 4 <= len(both.last_turns) < len(bare.last_turns)


def test_large_values_of_a_context_share_what_small_ones_leave() -> None:
    """The small ones are whole; the large ones are cut alike, and say how large they are."""
    context = {"a": "first " * 5000, "b": "small", "c": [1, {"d": None}], "e": ["item"] * 5000}
    packet = packed(session_of(context=context), forms=["text"])
    assert (packet.context["b"], packet.context["c"]) == ("small", [1, {"d": None}])
    assert packet.cut == ["context.a", "context.e"]
    assert packet.context["a"].startswith("first first")
    assert packet.context["a"].endswith("… [cut; 30,000 characters: see more]")
    assert packet.context["e"].startswith('["item","item"')
    assert packet.context["e"].endswith("… [cut: see more]")
    sizes = [len(encode(packet.context[key])) for key in "ae"]
    assert 0.5 < sizes[0] / sizes[1] < 2


def test_no_more_of_a_value_is_looked_at_than_is_shown() -> None:
    """So that megabytes cost no time: what could not even be stored, behind them, is not noticed."""
    session = session_of(context={"rows": [*["row"] * 5000, object()]})
    assert packed(session).cut == ["context.rows"]


def test_keys_that_do_not_fit_are_named_or_counted() -> None:
    """In the text, too."""
    session = session_of([turn(1)], context={f"key {n}": "value " * 100 for n in range(500)})
    packet = packed(session)
    left = packet.left_out
    assert list(packet.context) == [f"key {n}" for n in range(len(packet.context))]
    assert left.context_keys[0] == f"key {len(packet.context)}"
    assert len(packet.context) + len(left.context_keys) + left.further_context_keys == 500
    names = ", ".join(left.context_keys)
    assert f"Left out of the context: {names}, {left.further_context_keys} more" in packet.to_text()


def test_a_last_turn_that_is_too_large_is_cut() -> None:
    """Its question and its answer, each by what it is too long; its id is whole, so that it can be looked up."""
    packet = packed(session_of([turn(1), turn(2, "Why? ", "because " * 10_000)]))
    (cut,) = packet.last_turns
    assert packet.cut == ["last_turns"]
    assert {name: cut[name] for name in cut if name != "response"} == {
        name: value for name, value in turn(2, "Why? ").items() if name != "response"
    }
    assert cut["response"].startswith("because because")
    assert cut["response"].endswith("… [cut; 80,000 characters: see more]")
    assert len(packet.earlier_turns) == 1


def test_none_word_for_word_if_none_is_wanted() -> None:
    """Then all of them are lines; a negative number is refused."""
    packet = packed(session_of([turn(1), turn(2)]), last=0)
    assert packet.last_turns == []
    assert packet.earlier_turns == [f"2025-11-18 10:0{n} csv2507: What now? -> The next step." for n in (1, 2)]
    with pytest.raises(BadInput, match="last is -1"):
        packed(session_of(), last=-1)


def test_a_budget_that_is_too_small_is_refused_with_one_that_is_not() -> None:
    """Also where names have to be cut."""
    for session in (session_of(), _changed(session_of([turn(1)]), {"status": "s" * 9000, "backend": "b" * 9000})):
        needed = smallest_budget(session)
        assert cost(packed(session, tokens=needed)) <= needed
        with pytest.raises(BadInput):
            packed(session, tokens=needed - 1)


# Of a stored session


async def test_of_a_stored_session(world: World) -> None:
    """On every store; without a handle, of the session that was used last."""
    flywheel = Flywheel(SessionManager(world.store, budget=10), FlowRegistry([RecapFlow()], "recap"))
    for number in range(2):
        session = UniversalSession(backend="custom", id=f"s{number}")
        for place in range(300):
            session.record(question=f"question {place}", response="The next step.", flow_id="client")
        assert await flywheel.sessions.save_session(session)
    packet = await flywheel.packet(tokens=1500)
    assert packet == await flywheel.packet("s1", tokens=1500)
    assert (packet.session_id, packet.turns, packet.last_turns[-1]["question"]) == ("s1", 300, "question 299")
    assert len(packet.last_turns) + len(packet.earlier_turns) + packet.left_out.turns == 300
    with pytest.raises(SessionNotFound):
        await flywheel.packet("s2")


async def test_only_the_newest_turns_are_loaded() -> None:
    """As many as the budget may need, whatever the session's length and the number that is asked for."""
    asked = []

    class Noting(MemoryStore):
        async def read(self, session_id: str, *, last: int | None = None, **how: Any) -> Stored | None:
            asked.append(last)
            return await super().read(session_id, last=last, **how)

    flywheel = Flywheel(SessionManager(Noting()), FlowRegistry([RecapFlow()], "recap"))
    session = UniversalSession(backend="custom", history=History(turn(n) for n in range(1000)))
    assert await flywheel.sessions.save_session(session)
    for tokens in (1000, 2000, 4000):
        asked.clear()
        await flywheel.packet(session.id, tokens=tokens, last=200)
        assert asked == [tokens // 40]


# How turns read


@pytest.mark.parametrize(
    ("stored", "line"),
    [
        (turn(1, "a\n\n  b", "c"), "2025-11-18 10:01 csv2507: a b -> c"),
        ({"question": "q", "response": "r"}, "q -> r"),
        ({"question": {"a": 1}, "response": [2], "flow_id": "f"}, 'f: {"a":1} -> [2]'),
        ({"role": "user", "content": "hello"}, '{"role":"user","content":"hello"}'),
        ({"question": "q", "response": "r", "timestamp": "2025-11-18T23:30:00-05:00"}, "2025-11-19 04:30 q -> r"),
        ({"question": "q", "response": "r", "timestamp": "yesterday"}, "q -> r"),
        ({"question": "q", "response": "r", "timestamp": "0001-01-01T00:00:00+05:00"}, "q -> r"),
        ({"question": "\ud83d", "response": {"a": "\ud83d"}}, '\ufffd -> {"a":"\\ud83d"}'),
        ({}, "{}"),
    ],
)
def test_a_turn_in_a_line(stored: dict[str, Any], line: str) -> None:
    """Whatever its shape, whoever wrote it."""
    assert packed(session_of([stored]), last=0).earlier_turns == [line]


def test_the_text_reads_like_a_conversation() -> None:
    session = session_of([turn(1), {"role": "user", "content": "hello"}], context={"room": "B-1821", "n": [1]})
    assert pack(Resumed(session, True, interruption("Go?"))).to_text() == (
        "Let us continue where we left off.\n"
        "session_id: s (pass it to every tool call of this conversation)\n"
        "begun 2025-11-18 10:00, last used 2025-11-19 11:30, 2 turns so far\n"
        "Note: your last question 'Go?' was interrupted after 4 s in flow slow; not answered.\n"
        "Note: the store is away; turns that others wrote lately may be lacking here.\n"
        "\n"
        "What it knows (its context):\n"
        "- room: B-1821\n"
        "- n: [1]\n"
        "\n"
        "The last turns, word for word:\n"
        "[2025-11-18 10:01 turn_00000000000000000000000000000001] question: What now?\n"
        "csv2507: The next step.\n"
        '{"role":"user","content":"hello"}'
    )


# The estimate


@pytest.mark.parametrize(
    ("sample", "cl100k", "o200k"),
    [
        ("The structural tension between where we are and what we want to create is what moves us.", 18, 18),
        (
            '{"id":"turn_0c63d2b603bb25d3c89641792170d519","timestamp":"2025-11-18T10:00:00.000000Z","question":"Why?"}',
            48,
            48,
        ),
        ("    return LIGHTEST * len(data) + len(data.translate(None, _LIGHT))\n", 18, 17),
        ("Die Spannung zwischen dem, was ist, und dem, was werden soll, ist die Kraft, die uns bewegt.", 25, 23),
        ("Jännite sen välillä, mitä on ja mitä haluamme luoda, on voima, joka liikuttaa meitä.", 34, 26),
        ("Напряжение между тем, что есть, и тем, что мы хотим создать, движет нами.", 35, 23),
        ("现状与我们想要创造的东西之间的张力就是推动我们前进的力量。", 30, 21),
        ("現状と私たちが創りたいものとの間の緊張が、私たちを動かす力です。", 37, 29),
        ("현재 상태와 우리가 만들고자 하는 것 사이의 긴장이 우리를 움직이는 힘이다.", 38, 20),
        ("التوتر بين ما هو قائم وما نريد أن نصنعه هو القوة التي تحركنا.", 45, 20),
        ("जो है और जो हम बनाना चाहते हैं, उनके बीच का तनाव ही वह शक्ति है।", 64, 19),
        ("| 1 | 12.5 | yes |\n| 2 | 1034.25 | no |\n| 3 | 7.125 | yes |\n", 34, 34),
        ("Great 🎉🚀 see you at 10:30 😀 👍🏽", 20, 16),
    ],
)
def test_the_estimate_against_published_vocabularies(sample: str, cl100k: int, o200k: int) -> None:
    """On text as people write it, it is hardly ever too low. The counts are those of the package gpt-tokenizer."""
    estimate = estimate_tokens(sample)
    assert estimate >= 0.75 * max(cl100k, o200k)
    assert estimate <= 2 * cl100k


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_estimates_add_up(one: str, other: str) -> None:
    """Up to the rounding; so a packet that is put together by weight weighs what was reckoned."""
    assert 0 <= estimate_tokens(one) + estimate_tokens(other) - estimate_tokens(one + other) <= 1
