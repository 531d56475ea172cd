"""The command line, ``flywheel``. This is the only room that imports typer and rich.

What a command needs beyond them is imported inside the command, so that ``flywheel --help`` starts at once.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line with the arguments of this process, and exit with its code."""
    from .app import run

    raise SystemExit(run())
