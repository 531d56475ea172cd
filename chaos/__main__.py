"""The command: run the suite, print its table, exit 1 if a figure is missed."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from .suite import run


def main() -> int:
    """Run what the command line asks for; the exit code."""
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"chaos: seed {seed}", file=sys.stderr, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="flywheel-chaos-"))
    wanted = {name: getattr(options, name) for name in ("turns", "faults", "pending", "pause")}
    result = asyncio.run(run(folder, seed, **wanted))
    print(result)
    if options.json:
        options.json.write_text(result.json())
    if result.missed():
        print("\n".join(["", *result.cases, f"ledgers, logs and what was found: {folder}"]))
        return 1
    shutil.rmtree(folder)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="what the faults and the turns follow from; random if not given")
    parser.add_argument("--turns", type=int, default=10_000, help="turns to be accepted in the storm")
    parser.add_argument("--faults", type=int, default=200, help="faults to inject in the storm")
    parser.add_argument("--pending", type=int, default=1000, help="turns that wait when Redis returns")
    parser.add_argument("--pause", type=float, default=0.25, help="mean seconds between two turns of a session")
    parser.add_argument("--json", type=Path, help="a file to write the table to, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
