"""Sessions and changes of them, made for the tests of stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from agentic_flywheel.errors import Conflict
from agentic_flywheel.jsontext import encode
from agentic_flywheel.stores import Change, Mark, Record, Store, Stored

LIMIT = 10_000_000
MOMENT = "2025-11-18T10:00:00.000000Z"
BORN = "2025-11-18T09:00:00.000000Z"


def head_of(**fields: Any) -> bytes:
    """A head as the manager packs it: metadata first, last_active apart."""
    return encode({"metadata": {"created_at": BORN}, "schema": 1, "backend": "custom", **fields})


HEAD = head_of()


def line(number: int, size: int = 20) -> bytes:
    return encode({"id": f"turn_{number}", "question": "what? " + "é" * size, "response": "\n[]},\n"})


def lines(*numbers: int) -> list[bytes]:
    return [line(number) for number in numbers]


def creation(session_id: str = "s", *turns: int, **fields: Any) -> Change:
    """The change that creates a session with these turns."""
    values: dict[str, Any] = {"head": HEAD, "last_active": MOMENT, "created_at": BORN, "added": lines(*turns)}
    return Change(session_id, None, None, **(values | fields))


def following(change: Change, base: Mark, *turns: int, **fields: Any) -> Change:
    """A change that goes on from ``base``, the state that ``change`` led to."""
    later = Change(
        change.session_id,
        base,
        change.head,
        change.head,
        change.last_active,
        change.created_at,
        lines(*turns),
        ttl=change.ttl,
    )
    return replace(later, **fields)


async def create(store: Store, session_id: str = "s", *turns: int, **fields: Any) -> tuple[Change, Mark]:
    change = creation(session_id, *turns, **fields)
    return change, await store.write(change, limit=LIMIT)


async def found(store: Store, session_id: str = "s", **how: Any) -> Stored:
    """The session, which must be there."""
    stored = await store.read(session_id, **how)
    assert stored is not None
    return stored


async def is_there(store: Store, session_id: str = "s") -> bool:
    return await store.read(session_id, touch=False) is not None


async def append_stubbornly(store: Store, session_id: str, added: Sequence[bytes]) -> None:
    """Append each line by itself; read and try again as long as somebody else was first."""
    for new in added:
        while True:
            stored = await found(store, session_id, last=0)
            change = Change(session_id, stored.mark, stored.head, stored.head, MOMENT, BORN, [new])
            try:
                await store.write(change, limit=LIMIT)
            except Conflict:
                continue
            break


def execution(execution_id: str, data: bytes = b'{"id":"e"}', ttl: int = 0) -> Record:
    return Record("execution", execution_id, data, ttl)


def entry(name: str, session_id: str = "s", flow_id: str = "f", ttl: int = 0, status: str = "done") -> Record:
    return Record(
        "history", name, encode({"id": name, "status": status}), ttl, session_id=session_id, flow_id=flow_id
    )
