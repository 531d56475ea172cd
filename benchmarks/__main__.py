"""The command: run the benchmark, print its tables, write JSON and plots."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.servers import ServerMissingError

from .contestants import ENTRIES, named
from .environments import install
from .goals import goals_of, missed
from .plan import FULL, QUICK, TINY, Plan
from .plots import draw
from .results import Results
from .schedule import Schedule
from .server import shared_server
from .table import as_text
from .turns import TURN_BYTES

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """Run what the command line asks for; the exit code."""
    options = _options()
    try:
        results = run(QUICK if options.quick else FULL, options.peers)
    except (ValueError, ServerMissingError) as error:
        print(error, file=sys.stderr)
        return 2
    text = write(results, options.to)
    print(text)
    if options.plots:
        draw(results, options.to)
    return 1 if options.check and missed(goals_of(results)) else 0


def run(plan: Plan, peers: str | None = None) -> Results:
    """Measure.

    Args:
        plan: how much.
        peers: the names of the contestants, with commas; all of them if not given.

    Raises:
        ValueError: no contestant has such a name.
        ServerMissingError: there is no redis-server on the PATH.
    """
    entries = named(peers)
    install(entries)
    start, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="flywheel-bench-") as folder, shared_server() as server:
        results = asyncio.run(Schedule(plan, server, Path(folder)).run(entries))
        results.circumstances = {
            "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            "plan": _name(plan),
            "turns of": f"{TURN_BYTES} bytes",
            "redis-server": server.version,
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "load before": round(load, 2),
            "took": f"{time.perf_counter() - start:.0f} s",
        }
    return results


def _name(plan: Plan) -> str:
    return next(
        (name for name, known in {"full": FULL, "quick": QUICK, "tiny": TINY}.items() if known == plan), "own"
    )


def write(results: Results, folder: Path) -> str:
    """Write ``latest.json`` and ``latest.txt``; the text."""
    goals = goals_of(results)
    text = as_text(results, goals)
    document: dict[str, Any] = {**results.as_json(), "goals": [goal.as_json() for goal in goals]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / "latest.txt").write_text(text + "\n", "utf-8")
    return text


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    names = ",".join(entry.name for entry in ENTRIES)
    parser.add_argument("--quick", action="store_true", help="less of everything: at most three minutes")
    parser.add_argument("--peers", help=f"who takes part, with commas; all: {names}")
    parser.add_argument("--check", action="store_true", help="exit 1 if a figure was not reached")
    parser.add_argument("--no-plots", dest="plots", action="store_false", help="draw nothing")
    parser.add_argument("--to", type=Path, default=RESULTS, help="the folder to write to")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
