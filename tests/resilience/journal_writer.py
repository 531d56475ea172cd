"""A process that appends turns to a journal, and says so of each that was accepted.

python -m tests.resilience.journal_writer FILE SESSION NAME TURNS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agentic_flywheel.resilience import Journal
from tests.stores.sessions import creation


async def write(file: str, session_id: str, name: str, turns: int) -> None:
    journal = Journal(Path(file))
    for number in range(turns):
        await journal.append(session_id, creation(session_id, added=[turn(name, number)]))
        print(turn(name, number).decode(), flush=True)
    await journal.close()


def turn(name: str, number: int) -> bytes:
    return b'{"id":"%s-%d","response":"%s"}' % (name.encode(), number, b"x" * 500)


if __name__ == "__main__":
    file, session_id, name, turns = sys.argv[1:]
    asyncio.run(write(file, session_id, name, int(turns)))
