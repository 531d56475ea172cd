"""The document in Redis is always one JSON object, whoever looks at it, and says what was put into it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentic_flywheel.errors import Conflict, Damaged
from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.session.parts import pack_head, unpack_head
from agentic_flywheel.stores import Change, Mark, Stored
from agentic_flywheel.stores import redis_layout as layout
from agentic_flywheel.stores.base import new_version
from agentic_flywheel.stores.redis_scripts import TOUCH
from tests.stores.sessions import (
    BORN,
    HEAD,
    LIMIT,
    MOMENT,
    create,
    creation,
    following,
    found,
    line,
    lines,
)
from tests.stores.worlds import RedisWorld

TEXTS = st.one_of(st.text(max_size=40), st.sampled_from([',"history":[', "\n]}", ",\n", '"', "\\", "\u2028"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
TURNS = OBJECTS.map(encode)
MOMENTS = st.none() | st.just(MOMENT) | st.just("2025-11-18T10:00:00+01:00")
OURS = ("revision", "layout", "history")


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A session document of somebody else: any fields, in any order."""
    fields = {name: value for name, value in draw(OBJECTS).items() if name not in (*OURS, "metadata")}
    metadata = draw(OBJECTS)
    if draw(st.booleans()):
        metadata["last_active"] = draw(st.sampled_from([MOMENT, "yesterday at ten", "", 17, None, "é\\"]))
    fields |= {"metadata": metadata, "backend": "flowise", "history": draw(st.lists(OBJECTS, max_size=3))}
    return {name: fields[name] for name in draw(st.permutations(list(fields)))}


@st.composite
def heads(draw: st.DrawFn) -> tuple[bytes, str | None]:
    document = draw(documents())
    return pack_head({name: value for name, value in document.items() if name != "history"})


def compose(head: bytes, last_active: str | None, turns: list[bytes], *, revision: int = 1, ttl: int = 0) -> bytes:
    mark = Mark(new_version(), new_version(), revision, len(turns))
    return layout.compose(mark, head, last_active, turns, ttl)


@given(heads(), st.lists(TURNS, max_size=6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_any_session_is_valid_json_and_comes_back(
    head: tuple[bytes, str | None], turns: list[bytes], revision: int, ttl: int
) -> None:
    raw = compose(*head, turns, revision=revision, ttl=ttl)
    document = json.loads(raw)
    assert {name: value for name, value in document.items() if name not in OURS} == unpack_head(*head)
    assert document["history"] == [json.loads(turn) for turn in turns]
    stored = layout.parse(raw)
    assert (stored.head, stored.last_active, stored.lines, stored.start) == (*head, turns, 0)
    assert (stored.mark.revision, stored.mark.total) == (revision, len(turns))
    assert not stored.foreign


@given(heads(), st.lists(TURNS, min_size=1, max_size=6), st.data())
def test_a_tail_is_the_end_of_the_whole(
    head: tuple[bytes, str | None], turns: list[bytes], data: st.DataObject
) -> None:
    last = data.draw(st.integers(0, len(turns) - 1))
    raw = compose(*head, turns)
    start = raw[: raw.rindex(b',"history":[\n' + turns[0])]
    stored = layout.parse_tail(start, b",\n".join(turns[len(turns) - last :]))
    assert stored == layout.parse(raw).cut(last, None)


@given(documents(), st.sampled_from([None, 0, 1, 4]), st.booleans(), st.booleans())
def test_a_document_of_others_is_read_in_any_form(
    document: dict[str, Any], indent: int | None, ascii_only: bool, compact: bool
) -> None:
    separators = (",", ":") if compact else None
    raw = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators).encode()
    stored = layout.parse(raw)
    assert stored.foreign
    assert unpack_head(stored.head, stored.last_active) == {
        name: value for name, value in document.items() if name != "history"
    }
    assert [decode(turn) for turn in stored.lines] == document["history"]
    assert stored.mark.total == len(document["history"])


@given(documents())
def test_our_document_rewritten_by_others_is_read(document: dict[str, Any]) -> None:
    """A program that parses and prints the whole thing leaves our bookkeeping in it; it means nothing then."""
    ours = {"revision": 7, "layout": {"version": "00" * 8, "head": 5}}
    stored = layout.parse(json.dumps(ours | document).encode())
    assert stored.foreign
    assert "layout" not in unpack_head(stored.head, stored.last_active)
    assert stored.mark.total == len(document["history"])


@given(heads(), st.lists(TURNS, max_size=3))
@settings(max_examples=20)
def test_truncated_at_any_byte_it_is_damaged(head: tuple[bytes, str | None], turns: list[bytes]) -> None:
    raw = compose(*head, turns)
    for stop in range(len(raw)):
        with pytest.raises(Damaged):
            layout.parse(raw[:stop])


NO_SESSIONS = [
    b"",
    b"hello",
    b"\x80\x04\x95",
    b"null",
    b"[]",
    b'"text"',
    b"17",
    b"NaN",
    b'{"history":{"a":1}}',
    b'{"history":[1]}',
    b'{"metadata":[1]}',
    b'{"metadata":{}} trailing',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":1e999}',
]


@pytest.mark.parametrize("raw", NO_SESSIONS, ids=lambda raw: repr(raw[:20]))
def test_what_is_no_session_is_damaged(raw: bytes) -> None:
    with pytest.raises(Damaged, match="is not a session document"):
        layout.parse(raw)


def test_a_space_for_last_active_that_holds_something_else_is_damaged() -> None:
    raw = bytearray(compose(HEAD, MOMENT, lines(1)))
    raw[raw.index(b"2025-11-18")] = 0xFF
    with pytest.raises(Damaged):
        layout.parse(bytes(raw))


# On a real server

ON_A_SERVER = settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example takes another session
)


@given(st.lists(st.lists(TURNS, max_size=4), min_size=1, max_size=5), heads(), st.booleans())
@ON_A_SERVER
async def test_any_split_into_appends_gives_the_same_history(
    redis_world: RedisWorld,
    split: list[list[bytes]],
    head: tuple[bytes, str | None],
    keeps_head: bool,
) -> None:
    session_id = new_version()
    first = HEAD if keeps_head else head[0]
    change = Change(session_id, None, None, first, MOMENT, BORN, split[0], ttl=100)
    mark = await redis_world.store.write(change, limit=LIMIT)
    for added in split[1:]:
        change = Change(session_id, mark, change.head, HEAD, MOMENT, BORN, added, ttl=100)
        mark = await redis_world.store.write(change, limit=LIMIT)
    raw = await redis_world.store.raw(session_id) or b""
    turns = [turn for part in split for turn in part]
    whole = compose(change.head, MOMENT, turns)
    assert raw[_offset(raw) :] == whole[_offset(whole) :]
    assert json.loads(raw)["history"] == [json.loads(turn) for turn in turns]
    assert layout.parse(raw) == await found(redis_world.store, session_id)


def _offset(raw: bytes) -> int:
    offset: int = json.loads(raw)["layout"]["head"]
    return offset


@given(heads(), st.lists(TURNS, max_size=3), st.integers(0, 10**9), st.integers(0, 10**9))
@ON_A_SERVER
async def test_python_and_lua_read_the_same_front(
    redis_world: RedisWorld, head: tuple[bytes, str | None], turns: list[bytes], revision: int, ttl: int
) -> None:
    raw = compose(*head, turns, revision=revision, ttl=ttl)
    await redis_world.raw.set("front", raw)
    script = TOUCH.text.partition("-- Starts the time to live")[0]
    fields = "f.revision, f.version, f.epoch, f.turns, f.used, f.head, f.ttl, FRONT, LAST"
    answer: Any = await redis_world.raw.eval(
        f"{script} local f = read_front(KEYS[1]) return {{{fields}}}", 1, "front"
    )
    mark = layout.parse(raw).mark
    names = [mark.revision, mark.version.encode(), mark.epoch.encode(), mark.total]
    widths = [layout.head_end(raw), _offset(raw), ttl, layout.FRONT_SIZE]
    assert answer == [*names, *widths, b"\n]}"]


async def test_a_document_stays_json_at_every_step(redis_world: RedisWorld) -> None:
    change, mark = await create(redis_world.store, "s", ttl=100)
    for number in range(20):
        head = pack_head({"metadata": {}, "context": "é" * (number * 97 % 700)})[0]
        after = following(change, mark, number, head=head)
        mark, change = await redis_world.store.write(after, limit=LIMIT), after
        document = json.loads(await redis_world.store.raw("s") or b"")
        assert document["revision"] == number + 2
        assert len(document["history"]) == document["layout"]["turns"] == number + 1


FOREIGN = {
    "compact": b'{"backend":"flowise","history":[{"a":1},{"a":2},{"a":3}],"metadata":{"last_active":"2025"}}',
    "pretty": json.dumps({"history": [{"a": 1}, {"a": 2}, {"a": 3}], "backend": "x"}, indent=2).encode(),
    "without last_active": b'{"history":[{"a":1},{"a":2},{"a":3}],"metadata":{}}',
    "with an odd last_active": b'{"history":[{"a":1},{"a":2},{"a":3}],"metadata":{"last_active":"at \\n ten"}}',
    "with null metadata": b'{"metadata":null,"history":[{"a":1},{"a":2},{"a":3}],"extra":{"x":[]}}',
}


async def put_foreign(world: RedisWorld, raw: bytes, session_id: str = "s") -> None:
    await world.raw.set(f"{world.prefix}:session:{session_id}", raw)


@pytest.mark.parametrize("raw", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_document_of_others_is_read_in_slices_too(redis_world: RedisWorld, raw: bytes) -> None:
    await put_foreign(redis_world, raw)
    stored = await found(redis_world.store)
    assert stored.foreign
    assert [decode(turn) for turn in stored.lines] == [{"a": 1}, {"a": 2}, {"a": 3}]
    tail = await found(redis_world.store, last=1)
    assert (tail.start, list(tail.lines)) == (2, list(stored.lines[2:]))
    rest = await found(redis_world.store, after=1)
    assert (rest.start, list(rest.lines)) == (1, list(stored.lines[1:]))
    assert await redis_world.store.raw("s") == raw


def rewrite(stored: Stored) -> Change:
    """The change that a manager makes to go on from a document of others: it is written whole."""
    history = [*stored.lines, line(4)]
    return following(creation("s", head=stored.head), stored.mark, history=history, ttl=100)


@pytest.mark.parametrize("raw", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_document_of_others_is_replaced_if_unchanged(redis_world: RedisWorld, raw: bytes) -> None:
    await put_foreign(redis_world, raw)
    stored = await found(redis_world.store)
    mark = await redis_world.store.write(rewrite(stored), limit=LIMIT)
    ours = await found(redis_world.store)
    assert (ours.mark, ours.head, ours.foreign) == (mark, stored.head, False)
    assert list(ours.lines) == [*stored.lines, line(4)]
    assert 0 < await redis_world.raw.ttl(f"{redis_world.prefix}:session:s") <= 100


async def test_a_document_that_others_changed_meanwhile_is_not_replaced(redis_world: RedisWorld) -> None:
    await put_foreign(redis_world, FOREIGN["compact"])
    stored = await found(redis_world.store)
    await put_foreign(redis_world, FOREIGN["pretty"])
    with pytest.raises(Conflict) as caught:
        await redis_world.store.write(rewrite(stored), limit=LIMIT)
    assert caught.value.found == "changed"
    assert await redis_world.store.raw("s") == FOREIGN["pretty"]


async def test_a_document_of_others_is_not_appended_to(redis_world: RedisWorld) -> None:
    await put_foreign(redis_world, FOREIGN["compact"])
    stored = await found(redis_world.store)
    with pytest.raises(Conflict):
        await redis_world.store.write(following(creation("s"), stored.mark, 4), limit=LIMIT)
    assert await redis_world.store.raw("s") == FOREIGN["compact"]


async def test_a_document_written_after_a_deletion_is_continued(redis_world: RedisWorld) -> None:
    """It does not say when it began; the note of the earlier deletion is no reason to remove it."""
    await redis_world.store.delete("s", deleted_at=MOMENT, ttl=100)
    await put_foreign(redis_world, FOREIGN["compact"])
    change = rewrite(await found(redis_world.store))
    await redis_world.store.write(change, limit=LIMIT)
    assert (await found(redis_world.store)).mark.total == 4


async def test_sessions_of_others_are_listed_after_a_reindex(redis_world: RedisWorld) -> None:
    await put_foreign(redis_world, FOREIGN["compact"], "one")
    await put_foreign(redis_world, FOREIGN["pretty"], "a%3Ab")
    await put_foreign(redis_world, FOREIGN["pretty"], "not:ours")  # a name that no id of ours has
    await put_foreign(redis_world, b"not a session", "damaged")
    assert await redis_world.store.recent(10) == []
    assert await redis_world.store.reindex() == 2
    assert [listed.session_id for listed in await redis_world.store.recent(10)] == ["one", "a:b"]


@pytest.mark.parametrize("cut", [1, 3, 4, 30, 60, 200, 400])
async def test_a_truncated_document_is_damaged_for_every_reader(redis_world: RedisWorld, cut: int) -> None:
    """Not only for those who read all of it; and it is left as it is."""
    change, mark = await create(redis_world.store, "s", 1, 2, 3)
    raw = (await redis_world.store.raw("s") or b"")[:-cut]
    await put_foreign(redis_world, raw)
    for last, after in ((None, None), (1, None), (0, None), (None, 2)):
        with pytest.raises(Damaged):
            await redis_world.store.read("s", last=last, after=after)
    with pytest.raises(Conflict):
        await redis_world.store.write(following(change, mark, 4), limit=LIMIT)
    assert await redis_world.store.raw("s") == raw


async def fill(world: RedisWorld, kind: str, key: str) -> None:
    match kind:
        case "list":
            await world.raw.rpush(key, "x")
        case "hash":
            await world.raw.hset(key, "x", "y")
        case "set":
            await world.raw.sadd(key, "x")
        case "zset":
            await world.raw.zadd(key, {"x": 1})
        case "stream":
            await world.raw.xadd(key, {"x": "y"})


@pytest.mark.parametrize("kind", ["list", "hash", "set", "zset", "stream"])
async def test_another_redis_type_is_damaged_and_left_alone(redis_world: RedisWorld, kind: str) -> None:
    store, key = redis_world.store, f"{redis_world.prefix}:session:s"
    await fill(redis_world, kind, key)
    before = await redis_world.raw.dump(key)
    base = Mark(new_version(), new_version(), 1, 0)
    for change in (creation("s"), following(creation("s"), base, 1), following(creation("s"), base, history=[])):
        with pytest.raises(Damaged, match="another Redis type"):
            await store.write(change, limit=LIMIT)
    with pytest.raises(Damaged, match="another Redis type"):
        await store.read("s")
    assert await store.raw("s") == before
    assert await store.recent(10) == []
    assert await store.reindex() == 0
    assert await redis_world.raw.dump(key) == before
