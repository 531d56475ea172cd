"""A process that appends turns to a session of a SQLite file, and says so of each that was stored.

python -m tests.stores.sqlite_writer FILE SESSION NAME TURNS
"""

from __future__ import annotations

import asyncio
import sys

from agentic_flywheel.errors import Conflict
from agentic_flywheel.jsontext import encode
from agentic_flywheel.stores import Change, Store
from agentic_flywheel.stores.sqlite_store import SqliteStore
from tests.stores.sessions import BORN, HEAD, LIMIT, MOMENT, append_stubbornly


async def write(file: str, session_id: str, name: str, turns: int) -> None:
    store = SqliteStore(file)
    await _create(store, session_id)
    for number in range(turns):
        await append_stubbornly(store, session_id, [turn(name, number)])
        print(name, number, flush=True)
    await store.close()


def turn(name: str, number: int) -> bytes:
    return encode({"id": f"{name}-{number}", "response": "x" * 500})


async def _create(store: Store, session_id: str) -> None:
    try:
        await store.write(Change(session_id, None, None, HEAD, MOMENT, BORN), limit=LIMIT)
    except Conflict:
        return  # another process was first


if __name__ == "__main__":
    file, session_id, name, turns = sys.argv[1:]
    asyncio.run(write(file, session_id, name, int(turns)))
