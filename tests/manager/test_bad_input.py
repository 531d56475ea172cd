"""Bad input overwrites nothing, raises nowhere that it must not, and gets a message that says what to do."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.config import Settings, StoreSettings
from agentic_flywheel.errors import ConfigError, Damaged, Newer, Unavailable
from agentic_flywheel.stores.sqlite_store import SqliteStore
from agentic_flywheel.wiring import open_store
from tests.stores.worlds import RedisWorld
from tests.support.raw import bytes_at
from tests.support.servers import HOST, Server, free_port
from tests.support.values import PUBLISHED, questions

ID = "session_abc123"

DAMAGED: dict[str, bytes] = {
    "not JSON": b"hello",
    "empty": b"",
    "truncated": PUBLISHED.encode()[:300],
    "not UTF-8": b'{"backend":"\xff"}',
    "a list": b"[1,2]",
    "no backend": b'{"history":[]}',
    "another session": b'{"backend":"x","id":"another"}',
    "a history of texts": b'{"backend":"x","history":["a"]}',
    "a context of text": b'{"backend":"x","context":"a"}',
    "metadata of text": b'{"backend":"x","metadata":"a"}',
    "too deep": b'{"backend":"x","context":{"a":' + b"[" * 900 + b"]" * 900 + b"}}",
    "far too deep": b"[" * 100_000,
    "a number too large": b'{"backend":"x","context":{"a":1e999}}',
    "no schema number": b'{"backend":"x","schema":"one"}',
}


def session(question: Any = "new") -> UniversalSession:
    made = UniversalSession(backend="custom", id=ID)
    made.record(question=question, response="r", flow_id="f")
    return made


def at(url: str) -> SessionManager:
    return SessionManager(open_store(Settings(store=StoreSettings(url=url))))


def in_folder(folder: Path) -> SessionManager:
    return SessionManager(SqliteStore(folder / "sessions.db"))


class TestInRedis:
    """What somebody left under a session's key."""

    @pytest.fixture
    def manager(self, redis_world: RedisWorld) -> SessionManager:
        return SessionManager(redis_world.store)

    @pytest.fixture
    def key(self, redis_world: RedisWorld) -> str:
        return f"{redis_world.prefix}:session:{ID}"

    @pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
    async def test_damaged(self, redis_world: RedisWorld, manager: SessionManager, key: str, data: bytes) -> None:
        """What is no session document is damaged: every load says so and leaves it alone, a save moves it aside."""
        if data:
            await redis_world.raw.set(key, data)
        else:
            await redis_world.raw.setrange(key, 0, b" ")
            data = b" "
        for last in (None, 0, 5):
            loaded = await manager.load(ID, last=last)
            assert (loaded.state, loaded.session) == ("damaged", None)
            assert f"{ID!r} is damaged and was left as it is" in (loaded.reason or "")
            assert f"flywheel sessions show --raw {ID}" in (loaded.reason or "")
        with pytest.raises(Damaged, match="is damaged"):
            await manager.load_session(ID)
        with pytest.raises(Damaged, match="is damaged"):
            await manager.fork_session(ID)
        assert await bytes_at(redis_world.raw, key) == data
        assert await manager.store.raw(ID) == data
        saved = await manager.save_session(session())
        assert saved.outcome == "stored"
        ((aside, kept),) = (await manager.store.aside(ID)).items()
        assert f"was damaged; it is kept as {aside}" in (saved.reason or "")
        assert kept == data == await bytes_at(redis_world.raw, aside)
        assert questions(await manager.require(ID)) == ["new"]

    @pytest.mark.parametrize("kind", ["list", "hash", "set", "zset", "stream"])
    async def test_another_type(
        self, redis_world: RedisWorld, manager: SessionManager, key: str, kind: str
    ) -> None:
        """A key of another Redis type is damaged; a save moves it aside, whole, and its bytes can be read."""
        match kind:
            case "list":
                await redis_world.raw.rpush(key, "a")
            case "hash":
                await redis_world.raw.hset(key, "a", "b")
            case "set":
                await redis_world.raw.sadd(key, "a")
            case "zset":
                await redis_world.raw.zadd(key, {"a": 1})
            case _:
                await redis_world.raw.xadd(key, {"a": "b"})
        before = await redis_world.raw.dump(key)
        loaded = await manager.load(ID)
        assert loaded.state == "damaged"
        assert "another Redis type than a string" in (loaded.reason or "")
        assert await manager.store.raw(ID) == before == await redis_world.raw.dump(key)
        saved = await manager.save_session(session())
        assert saved.outcome == "stored"
        ((aside, kept),) = (await manager.store.aside(ID)).items()
        assert kept == before == await redis_world.raw.dump(aside)
        assert questions(await manager.require(ID)) == ["new"]

    @pytest.mark.parametrize("ours", [True, False], ids=["our layout", "another layout"])
    async def test_newer(self, redis_world: RedisWorld, manager: SessionManager, key: str, ours: bool) -> None:
        """A document of a newer schema is newer: said so by every load, and left alone by every save."""
        held = UniversalSession.from_json(PUBLISHED)
        await manager.save_session(held)
        data = (await bytes_at(redis_world.raw, key)).replace(b'"schema":1', b'"schema":2')
        data = data if ours else json.dumps(json.loads(data)).encode()
        await redis_world.raw.set(key, data)
        loaded = await manager.load(ID)
        assert loaded.state == "newer"
        assert "has schema 2; this version of agentic-flywheel reads up to 1: upgrade it" in (loaded.reason or "")
        with pytest.raises(Newer, match="left as it is"):
            await manager.load_session(ID)
        saved = await manager.save_session(session())
        assert saved.outcome == "refused"
        assert "upgrade it" in (saved.reason or "")
        after = await manager.store.raw(ID)
        assert after is not None
        assert json.loads(after)["history"] == json.loads(data)["history"]
        assert json.loads(after)["schema"] == 2

    async def test_damaged_while_it_is_held(
        self, redis_world: RedisWorld, manager: SessionManager, key: str
    ) -> None:
        """A session whose document is damaged while we hold it goes on from what we hold; the bytes are kept."""
        held = session()
        await manager.save_session(held)
        await redis_world.raw.set(key, b"{ truncat")
        held.record(question="more", response="r")
        other = UniversalSession(backend="custom")
        assert await manager.save_session(other)
        assert [summary.id for summary in await manager.list_sessions()] == [other.id]
        assert (await manager.save_session(held)).outcome == "stored"
        assert questions(await manager.require(ID)) == ["new", "more"]
        assert list((await manager.store.aside(ID)).values()) == [b"{ truncat"]

    async def test_a_turn_that_is_too_deep(
        self, redis_world: RedisWorld, manager: SessionManager, key: str
    ) -> None:
        """A turn of others that nests too deeply does not keep the session from going on."""
        deep = '{"backend":"x","history":[{"parts":' + "[" * 600 + "]" * 600 + "}]}"
        await redis_world.raw.set(key, deep)
        loaded = await manager.load_session(ID)
        assert loaded is not None
        with pytest.raises(ValueError, match="nested more than 200 levels deep"):
            loaded.history[0]
        loaded.record(question="new", response="r")
        assert await manager.save_session(loaded)
        assert json.loads(await bytes_at(redis_world.raw, key))["history"][0] == json.loads(deep)["history"][0]

    async def test_a_damaged_execution(self, redis_world: RedisWorld, manager: SessionManager) -> None:
        """An execution, or a flow's history, that is none is damaged, not absent."""
        await redis_world.raw.set(f"{redis_world.prefix}:execution:e", "{")
        await redis_world.raw.set(f"{redis_world.prefix}:history:s:f", "{")
        with pytest.raises(Damaged, match="execution is damaged"):
            await manager.load_execution("e")
        with pytest.raises(Damaged, match="not a flow history"):
            await manager.load_history("s", "f")


async def test_a_turn_of_50_mb(redis_world: RedisWorld) -> None:
    """A turn of 50 MB is refused with its size, the limit and the setting; with a higher limit it is stored."""
    manager = SessionManager(redis_world.store, budget=60)
    held = session("x" * 50_000_000)
    saved = await manager.save_session(held)
    assert saved.outcome == "refused"
    for words in (
        "a turn has 50,000,1",
        "the limit is 16,777,216",
        "put a reference into the turn",
        "limits.turn_bytes",
    ):
        assert words in (saved.reason or "")
    assert await manager.load_session(ID) is None
    held.history[0]["question"] = "short"
    assert await manager.save_session(held)
    assert questions(await manager.require(ID)) == ["short"]


class TestSqliteFiles:
    """What may be wrong with a file."""

    async def test_no_database(self, tmp_path: Path) -> None:
        """A file that is no database is left as it is, and the message says to move it aside."""
        path = tmp_path / "sessions.db"
        path.write_bytes(b"this is no database " * 1000)
        before = path.read_bytes()
        manager = in_folder(tmp_path)
        for reason in ((await manager.save_session(session())).reason, (await manager.load(ID)).reason):
            assert str(path) in (reason or "")
            assert "move it aside" in (reason or "")
        health = await manager.health()
        assert health.state != "ok"
        assert "move it aside" in (health.error or "")
        await manager.close()
        assert path.read_bytes() == before

    async def test_the_database_of_another_program(self, tmp_path: Path) -> None:
        """A database of another program is left alone."""
        with sqlite3.connect(tmp_path / "sessions.db") as db:
            db.execute("CREATE TABLE theirs (value)")
        db.close()
        manager = in_folder(tmp_path)
        saved = await manager.save_session(session())
        assert saved.outcome == "refused"
        assert "the database of another program; point FLYWHEEL_STATE_DIR elsewhere" in (saved.reason or "")
        await manager.close()

    async def test_a_truncated_database(self, tmp_path: Path) -> None:
        """A database that lost its end is refused in words, by loads and by saves."""
        manager = in_folder(tmp_path)
        await manager.save_session(session())
        await manager.close()
        path = tmp_path / "sessions.db"
        os.truncate(path, path.stat().st_size // 2)
        saved = await manager.save_session(session("more"))
        assert saved.outcome == "refused"
        assert "is damaged" in (saved.reason or "")
        assert (await manager.load(ID)).state in ("damaged", "unavailable")
        await manager.close()

    @pytest.mark.parametrize("read_only", ["folder", "file"])
    async def test_read_only(self, tmp_path: Path, read_only: str) -> None:
        """Where the file or its folder may not be written, saves are refused and say what to do."""
        manager = in_folder(tmp_path)
        if read_only == "file":
            assert await manager.save_session(session())
        await manager.close()
        forbid_writing(tmp_path, read_only)
        assert "cannot be written; give this user the right to, or point FLYWHEEL_STATE_DIR at" in refusal(tmp_path)

    async def test_disk_full(self, small_disk: Path) -> None:
        """On a full disk a save is refused and says so; what was stored stays, and with space saves work."""
        manager = in_folder(small_disk)
        held = session()
        assert await manager.save_session(held)
        saved = await manager.save_session(held)
        while saved:
            held.record(question="x" * 20_000, response="r")
            saved = await manager.save_session(held)
        assert "a full disk" in (saved.reason or "")
        stored = await manager.require(ID)
        assert questions(stored) == questions(held)[: len(stored.history)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert await manager.save_session(held)
        assert questions(await manager.require(ID)) == questions(held)
        await manager.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a file can only grow to about a megabyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def forbid_writing(folder: Path, what: str) -> None:
    """Make a folder, or the files in it, read-only."""
    for path in folder.iterdir() if what == "file" else [folder]:
        path.chmod(0o555)


def refusal(folder: Path) -> str:
    """Why a save in a folder is refused to a process that has no more rights than the modes of its files give."""
    without_rights = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []
    command = [*without_rights, sys.executable, "-c", _SAVE, str(folder / "sessions.db")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


_SAVE = """
import asyncio, sys
from agentic_flywheel import SessionManager, UniversalSession
from agentic_flywheel.stores.sqlite_store import SqliteStore
saved = asyncio.run(SessionManager(SqliteStore(sys.argv[1])).save_session(UniversalSession(backend="custom")))
print(saved.outcome, saved.reason)
"""


class TestUrls:
    """Wrong URLs."""

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("postgres://host/db", "redis+sentinel://…, redis+cluster://…, sqlite://PATH or memory://"),
            ("host:6379", "the store URL starts with 'host'"),
            ("sqlite://", "names no file"),
        ],
    )
    def test_no_store(self, url: str, words: str) -> None:
        """A URL that names no store is a ConfigError that lists those there are."""
        with pytest.raises(ConfigError) as caught:
            at(url)
        assert words in str(caught.value)

    @pytest.mark.parametrize("url", ["redis://:pa55word@host:port", "redis://host:99999", "redis://[::1"])
    async def test_no_url(self, url: str) -> None:
        """A URL that no client can use is a ConfigError at its first use at the latest; passwords are not shown."""
        with pytest.raises(ConfigError, match=r"the Redis URL .* cannot be used: ") as caught:
            await at(url).load(ID)
        assert "pa55word" not in str(caught.value)

    async def test_no_such_database(self, redis_server: Server) -> None:
        """A database number that the server does not have is refused with what the server says."""
        async with at(f"{redis_server.url}/99999") as manager:
            saved = await manager.save_session(session())
            assert saved.outcome == "refused"
            assert "DB index is out of range" in (saved.reason or "")

    async def test_nobody_listens(self) -> None:
        """A server that is not there: loads are unavailable, saves are refused, health says so; nothing hangs."""
        async with at(f"redis://user:pa55word@{HOST}:{free_port()}/0") as manager:
            loaded = await manager.load(ID)
            assert loaded.state == "unavailable"
            assert await manager.load_session(ID) is None
            with pytest.raises(Unavailable):
                await manager.require(ID)
            health = await manager.health()
            assert health.state == "unavailable"
            for words in (loaded.reason, health.error):
                assert "Redis cannot be reached" in (words or "")
                assert "pa55word" not in (words or "")
            assert "pa55word" not in repr(health) + manager.store.where

    async def test_a_wrong_password(self, redis_server: Server) -> None:
        """A password that the server refuses is told from a server that is away, and is not repeated."""
        async with at(f"redis://nobody:pa55word@{HOST}:{redis_server.port}/0") as manager:
            health = await manager.health()
            assert health.state == "misconfigured"
            assert "refuses the user or password" in (health.error or "")
            assert "pa55word" not in repr(health)
