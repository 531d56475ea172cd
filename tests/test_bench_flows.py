"""The benchmark of what is added to a flow call: a tiny run. No times are asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import flows
from benchmarks.flow_server import flow_server
from benchmarks.flows import Bench, Figure
from tests.support.servers import Server


async def test_every_figure_is_measured(
    own_server: Server, kv_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a caller alone waits for on each store, and the throughput of a crowd; with Redis down, too."""
    for name, value in {"CALLS": 5, "SESSIONS": 2, "LONG": 60, "CROWD": 3, "ROUNDS": 1, "TURNS": 2}.items():
        monkeypatch.setattr(flows, name, value)
    monkeypatch.setattr(flows, "FLOW_MS", {0: None, 5: 90.0})
    with flow_server() as url:
        figures = await Bench(url, tmp_path).run(kv_url, own_server)
    assert [figure.what for figure in figures] == [
        "a call of the flow with httpx2, directly, p50",
        "a call of the flow by our backend, without a session, p50",
        *(
            f"added {where}, at {turns} turns, p50"
            for where in ("on Redis", "on SQLite", "with Redis down")
            for turns in (10, 60)
        ),
        *(
            f"3 at once, a flow of {ms} ms: {what}"
            for ms in (0, 5)
            for what in ("direct", "on Redis, of that", "on SQLite, of that")
        ),
    ]
    assert [figure.bound for figure in figures] == [None, None, *[1.5] * 4, 2, 2, None, None, None, None, 90, 90]


@pytest.mark.parametrize(
    ("figure", "held"),
    [
        (Figure("what", 1.5, "ms", 1.5), True),
        (Figure("what", 1.6, "ms", 1.5), False),
        (Figure("what", 90, "%", 90, at_least=True), True),
        (Figure("what", 89, "%", 90, at_least=True), False),
        (Figure("what", 89, "%"), True),
    ],
    ids=str,
)
def test_a_bound_that_is_missed_is_marked(figure: Figure, held: bool) -> None:
    """In the table and in the exit code."""
    assert figure.held == held
    assert ("MISSED" in str(figure)) != held
