"""The benchmark's harness: a tiny run of ours beside the floor. No times are asserted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import run, write
from benchmarks.contestants import ENTRIES, FLOOR, OURS, SHARED, SINGLE, named
from benchmarks.crew import Answer
from benchmarks.goals import Goal, goals_of, missed
from benchmarks.plan import LATENCIES, TINY
from benchmarks.results import Results
from benchmarks.schedule import Schedule
from benchmarks.server import shared_server
from benchmarks.table import as_text
from benchmarks.turns import TURN_BYTES, turns
from tests.support.servers import Server


@pytest.fixture(scope="module")
def measured(redis_server: Server) -> Results:
    """A run with few turns; it starts its own server, and the session's is asked for to report a missing one."""
    return run(TINY, f"{FLOOR},floor-string,{OURS},{SHARED},{SINGLE}")


def test_every_measurement_is_taken_of_everybody(measured: Results) -> None:
    """Each contestant has all wanted values at each size; none failed."""
    samples = [
        measured.get(measure, name, size)
        for measure in (*LATENCIES, "crowd", "keep", "memory", "file")
        for name in (FLOOR, OURS)
        for size in measured.sizes(measure)
    ]
    samples += [measured.get("crowd", name, size) for name in (SHARED, SINGLE) for size in measured.sizes("crowd")]
    assert not measured.absent
    assert all(sample and sample.error is None and sample.values for sample in samples)
    assert measured.get("save", SHARED, 1) is None
    assert measured.sizes("save") == [1, 30]


def test_no_turn_of_two_interleaved_writers_is_lost(measured: Results) -> None:
    """What the writers added is there: the one figure that does not depend on the machine."""
    assert measured.median("keep", OURS, 20) == 20


def test_the_table_and_the_json_say_the_same(measured: Results, tmp_path: Path) -> None:
    """Both name every contestant and every figure to reach."""
    text = write(measured, tmp_path)
    document = json.loads((tmp_path / "latest.json").read_text())
    assert [goal["what"] for goal in document["goals"]] == [goal.what for goal in goals_of(measured)]
    assert all(goal.what in text for goal in goals_of(measured))
    assert all(entry.title in text for entry in measured.entries)
    assert set(document["contestants"]) == {entry.name for entry in measured.entries}


def test_figures_are_computed_where_the_run_has_what_they_need(measured: Results) -> None:
    """A figure about a peer that did not take part is not measured; that counts as missed."""
    goals = {goal.what: goal for goal in goals_of(measured)}
    kept = next(goal for what, goal in goals.items() if what.startswith("turns kept"))
    rival = next(goal for what, goal in goals.items() if what.startswith("save a turn, against openai"))
    assert kept.held
    assert rival.held is None
    assert rival in missed(goals.values())


@pytest.mark.parametrize(("reached", "held"), [(1.2, True), (1.21, False), (None, None)])
def test_a_figure_is_held_up_to_its_bound(reached: float | None, held: bool | None) -> None:
    """The bound itself is still good."""
    assert Goal("anything", 1.2, reached).held is held


@pytest.mark.usefixtures("redis_server")
async def test_who_cannot_run_is_named_with_the_reason(redis_server: Server, tmp_path: Path) -> None:
    """A contestant whose library is not there stops nobody, and stands in the table."""
    (peer,) = named("openai")
    without_library = replace(peer, environment=None)
    with shared_server() as server:
        results = await Schedule(TINY, server, tmp_path).run([without_library])
    assert results.absent["openai"].startswith("ModuleNotFoundError")
    assert results.absent["openai"] in as_text(results, goals_of(results))


def test_what_failed_is_shown_with_the_reason() -> None:
    """A measurement without values, and one with fewer than were wanted, say so."""
    floor, *_ = named(FLOOR)
    results = Results([floor])
    results.sample("save", FLOOR, 1, 10).error = "it broke"
    results.sample("save", FLOOR, 100, 10).add(Answer([0.001, 0.002], late=3))
    text = as_text(results, goals_of(results))
    assert "at 1: it broke" in text
    assert "n=2" in text
    assert "at 100: 3 turns were in the journal" in text


def test_a_name_that_nobody_has_is_refused() -> None:
    """The message says who there is."""
    with pytest.raises(ValueError, match=f"nobody; there are {FLOOR}"):
        named("nobody")
    assert named(None) == list(ENTRIES)


def test_turns_are_the_same_each_time_and_of_the_size_that_is_asked_for() -> None:
    """All contestants are given the same bytes, in every run."""
    first = turns("some", 3)
    assert first == turns("some", 3)
    assert first[1:] == turns("some", 2, start=1)
    assert all(abs(len(turn.line) - TURN_BYTES) < 64 for turn in first)
    assert all(b"\n" not in turn.line and turn.response.startswith(turn.id) for turn in first)
