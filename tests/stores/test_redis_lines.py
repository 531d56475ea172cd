"""The lines of a document are a list of bytes, whatever part of them is asked for first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentic_flywheel.session.lines import GrowingLines
from agentic_flywheel.stores.redis_lines import BETWEEN, NEAR_THE_END, Lines

texts = st.lists(st.binary(min_size=1, max_size=4).map(bytes.hex).map(str.encode), max_size=12)
indexes = st.integers(-15, 15) | st.slices(15)


def lines_of(texts: list[bytes], before: bytes = b"head [\n", behind: bytes = b"\n]}") -> Lines:
    body = BETWEEN.join(texts)
    return Lines(before + body + behind, len(before), len(before) + len(body), len(texts))


def outcome(lines: object, index: int | slice) -> object:
    try:
        found = lines[index]  # type: ignore[index]  # both kinds can be indexed
    except IndexError:
        return IndexError
    return found


@given(texts, st.lists(indexes, max_size=4))
def test_every_part_is_that_of_a_list(texts: list[bytes], asked: list[int | slice]) -> None:
    """Length, items and slices are those of the list, in whatever order they are asked for."""
    lines = lines_of(texts)
    for index in asked:
        assert outcome(lines, index) == outcome(texts, index)
    assert len(lines) == len(texts)
    assert list(lines) == texts
    assert lines == texts


@given(st.integers(1, 3), st.integers(-3, 3))
def test_the_end_of_many_lines_is_found_without_the_rest(beyond: int, near: int) -> None:
    """On both sides of the bound up to which the end is looked for by itself, the lines are the right ones."""
    texts = [b"%d" % number for number in range(NEAR_THE_END + 100 * beyond)]
    start = len(texts) - NEAR_THE_END + near
    assert lines_of(texts)[start:] == texts[start:]
    assert lines_of(texts)[start] == texts[start]


@given(texts, texts, st.lists(indexes, max_size=4), st.integers(0, 24), texts)
def test_lines_that_grow(
    came: list[bytes], added: list[bytes], asked: list[int | slice], kept: int, more: list[bytes]
) -> None:
    """Lines that came and lines that were added are one list, also after it was cut; its copy grows on its own."""
    lines = GrowingLines(lines_of(came), added)
    model = came + added
    for index in asked:
        assert outcome(lines, index) == outcome(model, index)
    twin = lines.copy()
    lines.cut_and_extend(kept, more)
    assert list(lines) == [*model[:kept], *more]
    assert list(twin) == model
