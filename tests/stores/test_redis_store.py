"""What only the Redis store has to stand: other programs, restarts, and answers of a server in trouble."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from agentic_flywheel.errors import ConfigError, Damaged, Misconfigured, StoreError, Unavailable
from agentic_flywheel.jsontext import decode
from agentic_flywheel.stores import Store
from agentic_flywheel.stores import redis_scripts as scripts
from agentic_flywheel.stores.redis_client import without_password
from agentic_flywheel.stores.redis_store import RedisStore
from tests.conftest import start_or_report
from tests.stores.sessions import LIMIT, MOMENT, create, entry, execution, following, found, is_there, lines
from tests.stores.worlds import FOREIGN_KEYS, RedisWorld, opened
from tests.support.servers import HOST, Kind, Server, free_port

PASSWORD = "s3cret/pass"
PATIENCE = 10.0


@pytest.fixture
async def own_world(own_server: Server) -> AsyncIterator[RedisWorld]:
    """A store on a server that the test may ruin."""
    async with opened(RedisWorld(own_server.url)) as world:
        assert isinstance(world, RedisWorld)
        yield world


@pytest.fixture
def locked_server(kv_kind: Kind) -> Iterator[Server]:
    """A server that wants a password."""
    with start_or_report(kv_kind, "--requirepass", PASSWORD) as server:
        yield server


# Among the keys of others


async def test_the_keys_of_others_stay_as_they_are(crowded_world: RedisWorld) -> None:
    """Runs everything that walks or removes, and then looks for the keys that others have in the database."""
    store = crowded_world.store
    await create(store, "s", 1, ttl=100, records=[execution("e"), entry("a")])
    assert await store.reindex() == 1
    await store.recent(100)
    await store.delete("s", deleted_at=MOMENT, ttl=100)
    assert [name async for name in store.names("session")] == []
    starts = (b"agentic_flywheel:", b"cache:", b"test-session:", b"test-:", b"other:")
    keys = {key async for key in crowded_world.raw.scan_iter(count=10_000)}
    assert len([key for key in keys if key.startswith(starts)]) == FOREIGN_KEYS


async def test_a_time_to_live_that_others_took_away_is_back_with_the_next_save(redis_world: RedisWorld) -> None:
    """Also where it began just now, so that it need not begin again: else the session would stay for ever."""
    key = f"{redis_world.prefix}:session:s"
    change, mark = await create(redis_world.store, "s", ttl=7200)
    assert await redis_world.raw.persist(key)
    await redis_world.store.write(following(change, mark, 1, ttl=7200), limit=LIMIT)
    assert 7100 < await redis_world.raw.ttl(key) <= 7200


@pytest.mark.parametrize("prefix", ["a*", "[ab]", "tenant:1", "\\", "é"])
async def test_a_prefix_is_no_pattern(redis_world: RedisWorld, prefix: str) -> None:
    await redis_world.raw.set("ab:session:x", "{}")
    await redis_world.raw.set("a:session:x", "{}")
    store = RedisStore(redis_world.url, prefix=prefix)
    await create(store, "s", 1)
    assert [name async for name in store.names("session")] == [("s",)]
    await store.close()


async def test_keys_that_we_would_not_have_made_have_no_name(redis_world: RedisWorld) -> None:
    for name in (b"session:a:b", b"session:\xff", b"session:a%3ab", b"session:", b"history:one", b"history:a:b:c"):
        await redis_world.raw.set(redis_world.prefix.encode() + b":" + name, "{}")
    assert [name async for name in redis_world.store.names("session")] == [("",)]
    assert [name async for name in redis_world.store.names("history")] == []


# Histories of flows that others wrote

ENTRIES: list[dict[str, Any]] = [{"id": "x", "nested": [{}, {}]}, {"id": ["no text"]}, {"no": "id"}]
HISTORIES = {
    "compact": json.dumps(ENTRIES, separators=(",", ":")),
    "pretty": json.dumps(ENTRIES, indent=2),
    "indented by nothing": json.dumps(ENTRIES, indent=0),
    "a line each": "[\n" + ",\n".join(json.dumps(known) for known in ENTRIES) + "\n]",
    "broken in odd places": '[\n{"id": "x", "nested": [{},\n{}]},\n{"id":["no text"]},\n{"no":"id"}\n]',
}


@pytest.mark.parametrize("written", HISTORIES.values(), ids=HISTORIES.keys())
async def test_a_history_of_others_is_continued(redis_world: RedisWorld, written: str) -> None:
    store, key = redis_world.store, f"{redis_world.prefix}:history:s:f"
    await redis_world.raw.set(key, written)
    assert [decode(known) for known in await store.entries("s", "f")] == ENTRIES
    await store.put([entry("a", ttl=100), execution("e")])
    await create(store, "s", 1, records=[entry("b", ttl=100)])
    expected = [*ENTRIES, *(decode(entry(name).data) for name in "ab")]
    assert [decode(known) for known in await store.entries("s", "f")] == expected
    assert json.loads(await redis_world.raw.get(key) or "") == expected
    assert 0 < await redis_world.raw.ttl(key) <= 100


@pytest.mark.parametrize("written", ["[]", "[\n]", "[ ]"])
async def test_an_empty_history_of_others_is_continued(redis_world: RedisWorld, written: str) -> None:
    key = f"{redis_world.prefix}:history:s:f"
    await redis_world.raw.set(key, written)
    await redis_world.store.put([entry("a"), entry("b")])
    assert json.loads(await redis_world.raw.get(key) or "") == [decode(entry(name).data) for name in "ab"]


@pytest.mark.parametrize("written", ["hello", '[{"id":', "{}", "[\nhello\n]"])
async def test_a_damaged_history_is_left_alone(
    redis_world: RedisWorld, caplog: pytest.LogCaptureFixture, written: str
) -> None:
    """The session is the truth: it is stored, and so are the records beside."""
    store, key = redis_world.store, f"{redis_world.prefix}:history:s:f"
    await redis_world.raw.set(key, written)
    with caplog.at_level(logging.WARNING):
        await create(store, "s", 1, records=[entry("a"), execution("e")])
    assert "was left alone" in caplog.text
    assert await is_there(store)
    assert await store.execution("e") is not None
    assert await redis_world.raw.get(key) == written.encode()
    with pytest.raises(Damaged):
        await store.entries("s", "f")


async def test_a_history_of_another_redis_type_does_not_stop_the_session(redis_world: RedisWorld) -> None:
    store, key = redis_world.store, f"{redis_world.prefix}:history:s:f"
    await redis_world.raw.rpush(key, "x")
    await create(store, "s", 1, records=[entry("a"), entry("b", flow_id="g")])
    assert await is_there(store)
    assert len(await store.entries("s", "g")) == 1
    with pytest.raises(Damaged):
        await store.put([entry("a")])
    assert await redis_world.raw.lrange(key, 0, -1) == [b"x"]


# Servers that come and go


async def test_a_server_that_forgot_the_scripts(redis_world: RedisWorld) -> None:
    store = redis_world.store
    change, mark = await create(store, "s", 1)
    await redis_world.raw.script_flush()
    mark = await store.write(following(change, mark, 2, records=[entry("a")]), limit=LIMIT)
    await redis_world.raw.script_flush()
    assert list((await found(store)).lines) == lines(1, 2)
    assert len(await store.entries("s", "f")) == 1
    await redis_world.raw.script_flush()
    grant, stored = await store.claim_and_read("s", "a", b"{}", seconds=5, last=2)
    assert grant.found is None
    assert stored is not None
    assert list(stored.lines) == lines(1, 2)
    await redis_world.raw.script_flush()
    await redis_world.raw.script_load(scripts.ENTRY.text)  # only what comes first is known
    await store.write(following(change, mark, 3, releases="a"), limit=LIMIT)
    assert await store.claimed("s") is None


@pytest.mark.parametrize("first", ["read", "write"])
async def test_the_first_call_after_a_restart_works(own_server: Server, own_world: RedisWorld, first: str) -> None:
    store = own_world.store
    change, mark = await create(store, "s", 1)
    await asyncio.gather(*(found(store) for _ in range(20)))  # several connections
    own_server.restart()
    if first == "write":
        await store.write(following(change, mark, 2), limit=LIMIT)
    stored = await found(store)
    assert list(stored.lines) == (lines(1, 2) if first == "write" else lines(1))


async def test_a_server_that_is_gone_is_unavailable_not_absent(own_server: Server, own_world: RedisWorld) -> None:
    store = own_world.store
    change, mark = await create(store, "s", 1)
    own_server.kill()
    for call in (
        store.read("s"),
        store.write(following(change, mark, 2), limit=LIMIT),
        store.delete("s", deleted_at=MOMENT, ttl=1),
        store.recent(1),
        store.put([execution("e")]),
        store.execution("e"),
        store.entries("s", "f"),
        store.raw("s"),
        store.reindex(),
        store.check(),
    ):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await call
    own_server.restart()
    assert list((await found(store)).lines) == lines(1)


# Answers of a server in trouble


async def refusal(store: Store, kind: type[StoreError]) -> str:
    """What the store says when it cannot write."""
    with pytest.raises(kind) as caught:
        await create(store, "new", 1, records=[execution("e")])
    return str(caught.value)


async def test_a_replica(own_world: RedisWorld) -> None:
    store = own_world.store
    change, mark = await create(store, "s", 1)
    await own_world.raw.replicaof(HOST, free_port())
    assert "replica" in await refusal(store, Unavailable)
    with pytest.raises(Unavailable, match="primary"):
        await store.write(following(change, mark, 2), limit=LIMIT)
    assert list((await found(store, touch=False)).lines) == lines(1)


async def test_a_server_without_memory(own_world: RedisWorld) -> None:
    store = own_world.store
    change, mark = await create(store, "s", 1)
    await own_world.raw.config_set("maxmemory", 1)
    assert "maxmemory" in await refusal(store, Unavailable)
    with pytest.raises(Unavailable, match="out of memory"):
        await store.write(following(change, mark, 2), limit=LIMIT)
    assert list((await found(store)).lines) == lines(1)
    await own_world.raw.config_set("maxmemory", 0)
    await store.write(following(change, mark, 2), limit=LIMIT)


async def test_a_server_that_cannot_write_to_its_disk(kv_kind: Kind) -> None:
    """Its folder is gone, so its snapshot fails, and it refuses writes."""
    with start_or_report(kv_kind) as server:
        async with opened(RedisWorld(server.url)) as world:
            assert isinstance(world, RedisWorld)
            change, mark = await create(world.store, "s", 1)
            await _break_snapshots(server, world)
            assert "disk" in await refusal(world.store, Unavailable)
            with pytest.raises(Unavailable, match="log"):
                await world.store.write(following(change, mark, 2), limit=LIMIT)
            assert list((await found(world.store, touch=False)).lines) == lines(1)


async def _break_snapshots(server: Server, world: RedisWorld) -> None:
    await world.raw.config_set("save", "3600 1")
    shutil.rmtree(server.data)
    await world.raw.bgsave()
    async with asyncio.timeout(PATIENCE):
        while (await world.raw.info("persistence"))["rdb_last_bgsave_status"] != "err":  # noqa: ASYNC110  # it has no event for it
            await asyncio.sleep(0.01)


async def allow(world: RedisWorld, user: str) -> None:
    """Add a user, written as in an ACL file."""
    _, *words = user.split()
    setting: Any = world.raw.execute_command
    await setting("ACL", "SETUSER", *words)


@pytest.mark.parametrize(
    "rights",
    ["~* +ping +get", "~other:* +@all", "~* +@all -setrange -set", "~* +evalsha +script|load +ping"],
    ids=["no scripts", "other keys", "no writes in scripts", "scripts only"],
)
async def test_a_user_without_rights(own_server: Server, own_world: RedisWorld, rights: str) -> None:
    await allow(own_world, f"user limited on >{PASSWORD} {rights}")
    store = RedisStore(f"redis://limited:s3cret%2Fpass@{HOST}:{own_server.port}")
    message = await refusal(store, Misconfigured)
    assert "lacks a right" in message
    assert PASSWORD not in message
    await store.close()


@pytest.mark.parametrize("credentials", ["", ":wr0ng@", "nobody:wr0ng@", ":wr0ng%2Fpass@"])
async def test_a_wrong_password(locked_server: Server, credentials: str) -> None:
    store = RedisStore(f"redis://{credentials}{HOST}:{locked_server.port}")
    for _ in range(2):
        message = await refusal(store, Misconfigured)
        assert "password" in message
        assert "URL" in message
        assert "wr0ng" not in message + store.where
    await store.close()


async def test_the_right_password_is_never_shown(locked_server: Server) -> None:
    store = RedisStore(f"redis://:s3cret%2Fpass@{HOST}:{locked_server.port}/3?client_name=me")
    await create(store, "s", 1)
    assert store.where == f"redis://***@{HOST}:{locked_server.port}/3"
    locked_server.kill()
    assert "s3cret" not in await refusal(store, Unavailable)
    await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret/pass@localhost:6379",
        "redis://:s3cret#pass@localhost:6379",
        "redis://user:s3cret?pass@localhost:6379/0",
        "http://:s3cret@localhost",
        "redis://:s3cret@localhost:port",
        "redis://:s3cret@localhost:6379/sessions",
    ],
)
def test_a_url_that_cannot_be_used_is_told_at_once_and_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        RedisStore(url)
    assert "s3cret" not in f"{caught.value}{without_password(url)}{caught.value.__cause__!r}"


def test_a_url_without_a_password_is_shown_as_it_is() -> None:
    for url in ("redis://localhost:6379/3", "unix:///run/redis.sock", "rediss://[::1]:6379"):
        assert without_password(url) == url
