"""What only the SQLite store has to stand: files that cannot be used, other processes, and sudden death."""
# ruff: noqa: ASYNC240  # a test that looks at a file holds nobody up

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agentic_flywheel.errors import Damaged, Misconfigured, Newer, StoreError, Unavailable
from agentic_flywheel.stores.sqlite_file import SqliteFile, translate
from agentic_flywheel.stores.sqlite_schema import MIGRATIONS, prepare
from agentic_flywheel.stores.sqlite_store import PAGE, SWEPT, SqliteStore
from tests.stores.sessions import (
    LIMIT,
    MOMENT,
    create,
    creation,
    entry,
    execution,
    following,
    found,
    is_there,
    line,
    lines,
)
from tests.stores.sqlite_writer import turn
from tests.stores.worlds import Clock

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "flywheel.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, busy_seconds=PATIENCE)
    yield store
    await store.close()


@contextmanager
def beside(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of another program to the same file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def count(path: Path, table: str) -> int:
    with beside(path) as db:
        (number,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # a name of ours
        return int(number)


# The file


async def test_the_file_is_for_its_user_only(store: SqliteStore, path: Path) -> None:
    await create(store, "s", 1)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"flywheel.db": 0o600, "flywheel.db-wal": 0o600, "flywheel.db-shm": 0o600}


async def test_nothing_is_made_before_the_first_use(store: SqliteStore, path: Path) -> None:
    await store.close()
    assert not path.parent.exists()


async def test_a_closed_store_leaves_one_file(store: SqliteStore, path: Path) -> None:
    await create(store, "s", 1)
    await store.close()
    assert [file.name for file in path.parent.iterdir()] == ["flywheel.db"]


async def test_the_file_is_safe_against_the_death_of_a_process(store: SqliteStore, path: Path) -> None:
    await create(store, "s", 1)
    with beside(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# Files that cannot be used


async def refusal(store: SqliteStore, kind: type[StoreError]) -> str:
    """What the store says, to readers and writers alike."""
    with pytest.raises(kind):
        await store.read("s")
    with pytest.raises(kind):
        await store.recent(10)
    with pytest.raises(kind) as caught:
        await create(store, "s", 1)
    assert store.where in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"hello " * 1000, b"SQLite format 3\x00" + b"\xff" * 5000, b"hello"])
async def test_a_file_that_is_no_database(store: SqliteStore, path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    message = await refusal(store, Damaged)
    assert "move it aside" in message
    assert "FLYWHEEL_STATE_DIR" in message
    assert path.read_bytes() == content


async def test_a_database_that_is_damaged_inside(store: SqliteStore, path: Path) -> None:
    """The bytes stay as they are, and what is stored is not taken for absent."""
    await create(store, "s", *range(500))
    await store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    await refusal(store, Damaged)
    await store.close()
    assert path.read_bytes() == content


async def test_the_database_of_another_program(store: SqliteStore, path: Path) -> None:
    path.parent.mkdir()
    with beside(path) as db:
        db.execute("CREATE TABLE recipes (name)")
    before = path.read_bytes()
    assert "another program" in await refusal(store, Damaged)
    await store.close()
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_version(store: SqliteStore, path: Path) -> None:
    await create(store, "s", 1)
    await store.close()
    with beside(path) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    message = await refusal_of_newer(store)
    assert "schema 99" in message
    assert "upgrade" in message
    await store.close()
    assert path.read_bytes() == before


async def refusal_of_newer(store: SqliteStore) -> str:
    with pytest.raises(Newer) as caught:
        await create(store, "t", 1)
    return str(caught.value)


async def test_after_the_trouble_the_store_goes_on(store: SqliteStore, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"hello")
    await refusal(store, Damaged)
    path.unlink()
    await create(store, "s", 1)
    assert await is_there(store)


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_a_place_that_is_no_file_or_no_folder(tmp_path: Path, kind: str) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir() if kind == "folder" else wrong.write_text("")
    store = SqliteStore(wrong if kind == "folder" else wrong / "flywheel.db")
    assert "FLYWHEEL_STATE_DIR" in await refusal(store, Misconfigured)


TRY_TO_WRITE = """
import asyncio, sys
from agentic_flywheel.errors import StoreError
from agentic_flywheel.stores.sqlite_store import SqliteStore
from tests.stores.sessions import create

async def attempt():
    store = SqliteStore(sys.argv[1])
    try:
        await create(store, "t", 1)
    except StoreError as error:
        print(type(error).__name__, error)
    await store.close()

asyncio.run(attempt())
"""


def run(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> str:
    """What a Python process prints that runs this code."""
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_privileges() -> tuple[str, ...]:
    """The command prefix under which file modes hold for root too."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    assert setpriv, "run the tests as another user than root, or install setpriv (util-linux)"
    return (setpriv, "--inh-caps=-all", "--bounding-set=-all")


@pytest.mark.parametrize("locked", ["file", "folder"])
async def test_what_may_only_be_read(store: SqliteStore, path: Path, locked: str) -> None:
    await create(store, "s", 1)
    await store.close()
    before = path.read_bytes()
    target = path if locked == "file" else path.parent
    target.chmod(0o400 if locked == "file" else 0o500)
    try:
        said = run(TRY_TO_WRITE, path, prefix=without_privileges())
    finally:
        target.chmod(0o700)
    assert said.startswith("Misconfigured")
    assert "give this user the right" in said
    assert path.read_bytes() == before


FILL_THE_DISK = """
import asyncio, resource, sys
from agentic_flywheel.errors import StoreError
from agentic_flywheel.stores.sqlite_store import SqliteStore
from tests.stores.sessions import LIMIT, create, following, found, line

async def fill():
    store = SqliteStore(sys.argv[1])
    change, mark = await create(store, "s")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    try:
        while True:
            new = following(change, mark, added=[line(mark.total, size=5_000)])
            mark = await store.write(new, limit=LIMIT)
    except StoreError as error:
        print(type(error).__name__, error)
    stored = await found(store)
    print(mark.total, len(stored.lines), stored.mark == mark)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await store.write(following(change, mark, 1), limit=LIMIT)
    await store.close()

asyncio.run(fill())
"""


async def test_a_full_disk(store: SqliteStore, path: Path) -> None:
    """A limit on the size of files is the cause here. What was acknowledged is there, and goes on after it."""
    said, state = run(FILL_THE_DISK, path).splitlines()
    assert said.startswith("Unavailable")
    assert "disk" in said
    acknowledged, there, same = state.split()
    assert (int(acknowledged) > 10, acknowledged, same) == (True, there, "True")
    assert (await found(store)).mark.total == int(acknowledged) + 1


def test_what_sqlite_says_of_a_full_disk() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("PRAGMA max_page_count = 2")
        db.execute("CREATE TABLE t (x)")
        with pytest.raises(sqlite3.Error) as caught:
            db.execute("INSERT INTO t VALUES (zeroblob(100000))")
    meaning = translate(caught.value, Path("f.db"))
    assert isinstance(meaning, Unavailable)
    assert "free some space" in str(meaning)


# Other processes and other callers


async def test_a_lock_that_another_process_holds_too_long(store: SqliteStore, path: Path) -> None:
    change, mark = await create(store, "s", 1)
    hasty = SqliteStore(path, busy_seconds=0.01)
    with beside(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process holds its lock"):
            await hasty.write(following(change, mark, 2), limit=LIMIT)
        assert list((await found(hasty, touch=False)).lines) == lines(1)
        other.execute("COMMIT")
    await hasty.write(following(change, mark, 2), limit=LIMIT)
    await hasty.close()


async def test_readers_do_not_wait_for_a_writer(store: SqliteStore, path: Path) -> None:
    """Nor do they see half of what it writes."""
    await create(store, "s", 1)
    with beside(path) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM turns")
        assert list((await found(store, touch=False)).lines) == lines(1)
        other.execute("ROLLBACK")


async def test_nothing_is_held_open_while_names_are_walked(store: SqliteStore, path: Path) -> None:
    for number in range(PAGE + 1):
        await create(store, f"s{number:03}")
    walk = store.names("session")
    assert await anext(walk) == ("s000",)
    with beside(path) as other:
        busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy
    assert len([name async for name in walk]) == PAGE


async def test_a_cancelled_caller_leaves_nothing_half_done(store: SqliteStore, path: Path) -> None:
    """Its write waits for a lock when it is cancelled: it is carried out all the same, in one piece."""
    change, mark = await create(store, "s", 1)
    new = following(change, mark, 2, records=[execution("e")])
    with beside(path) as other:
        other.execute("BEGIN IMMEDIATE")
        writer = asyncio.create_task(store.write(new, limit=LIMIT))
        await asyncio.sleep(0)  # lets it begin
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
        other.execute("COMMIT")
    await store.close()  # waits for what is under way
    stored = await found(store)
    assert list(stored.lines) == lines(1, 2)
    assert await store.execution("e") is not None
    await store.write(following(change, stored.mark, 3), limit=LIMIT)


async def test_many_callers_that_are_cancelled(store: SqliteStore) -> None:
    jobs = [asyncio.create_task(create(store, f"s{number}", number)) for number in range(100)]
    await asyncio.sleep(0)
    for job in jobs[::2]:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    await store.close()
    assert {name async for (name,) in store.names("session")} == {f"s{number}" for number in range(100)}


def start_writer(path: Path, session_id: str, name: str, turns: int) -> subprocess.Popen[str]:
    arguments = [str(path), session_id, name, str(turns)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stores.sqlite_writer", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_the_threads_of_the_loop_are_in_use(store: SqliteStore) -> None:
    """Where others, flows for example, are in all threads that the event loop shares out, calls do not wait."""
    over = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    other = asyncio.create_task(asyncio.to_thread(over.wait))
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE / 4):
            await create(store)
            assert await is_there(store)
            await store.close()
    finally:
        over.set()
        await other


async def test_two_processes_keep_every_turn_of_one_session(store: SqliteStore, path: Path) -> None:
    writers = [start_writer(path, "s", name, 100) for name in "ab"]
    for writer in writers:
        writer.communicate(timeout=PATIENCE)
        assert writer.returncode == 0
    stored = await found(store)
    for name in "ab":
        mine = [kept for kept in stored.lines if kept.startswith(b'{"id":"%s-' % name.encode())]
        assert mine == [turn(name, number) for number in range(100)]
    assert stored.mark.total == len(stored.lines) == 200


async def test_processes_that_make_the_file_at_the_same_moment(store: SqliteStore, path: Path) -> None:
    writers = [start_writer(path, f"s{number}", "a", 3) for number in range(6)]
    for writer in writers:
        writer.communicate(timeout=PATIENCE)
        assert writer.returncode == 0
    for number in range(6):
        assert (await found(store, f"s{number}")).mark.total == 3


async def test_a_writer_that_is_killed_loses_nothing_that_was_acknowledged(store: SqliteStore, path: Path) -> None:
    acknowledged: list[str] = []
    for name in "abc":
        with start_writer(path, "s", name, 1_000_000) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline() for _ in range(50)]
            writer.kill()
            said += writer.stdout.readlines()
        acknowledged += ["-".join(words.split()) for words in said if words.endswith("\n")]
    stored = await found(store)
    kept = [json.loads(turn_line)["id"] for turn_line in stored.lines]
    assert len(acknowledged) >= 150
    assert [name for name in kept if name in set(acknowledged)] == acknowledged
    assert len(kept) - len(acknowledged) <= 3, "at most the turn in flight of each"
    with beside(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# Rows


async def test_an_append_writes_as_much_at_any_length(store: SqliteStore, path: Path) -> None:
    written = [await _bytes_of_an_append(store, path, turns) for turns in (10, 5_000)]
    assert written[1] <= 1.5 * written[0]


async def _bytes_of_an_append(store: SqliteStore, path: Path, turns: int) -> int:
    """How much the log grows by, of 20 appends to a session of so many turns."""
    name = f"s{turns}"
    change, mark = await create(store, name, history=[line(number, 200) for number in range(turns)])
    with beside(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for number in range(20):
        mark = await store.write(following(change, mark, added=[line(number, 200)]), limit=LIMIT)
    return path.with_name(f"{path.name}-wal").stat().st_size


async def test_deleting_a_session_removes_its_turns(store: SqliteStore, path: Path) -> None:
    await create(store, "s", 1, 2, 3)
    await create(store, "t", 1)
    await store.delete("s", deleted_at=MOMENT, ttl=100)
    assert [count(path, table) for table in ("sessions", "heads", "turns")] == [1, 1, 1]


async def test_what_has_expired_is_swept_a_little_with_each_write(path: Path) -> None:
    clock, number = Clock(), 3 * SWEPT
    store = SqliteStore(path, clock=clock)
    for place in range(number):
        records = [execution(f"e{place}", ttl=100), entry("a", f"s{place}", ttl=100)]
        await create(store, f"s{place}", 1, 2, ttl=100, records=records)
        await store.delete(f"d{place}", deleted_at=MOMENT, ttl=100)
    clock.now += 101
    tables = ("sessions", "heads", "executions", "histories", "entries", "tombstones")
    for left in (2 * SWEPT, SWEPT, 0, 0):
        await store.put([execution("kept")])
        expected = [left, left, left + 1, left, left, left]
        assert [count(path, table) for table in tables] == expected
        assert count(path, "turns") == 2 * left
    await store.close()


@pytest.mark.parametrize("table", ["turns", "heads"])
async def test_a_session_without_all_its_rows_is_damaged(store: SqliteStore, path: Path, table: str) -> None:
    await create(store, "s", 1, 2)
    await create(store, "t", 1)
    with beside(path) as other:
        other.execute(f"DELETE FROM {table} WHERE session = 1")  # noqa: S608  # a name of ours
    with pytest.raises(Damaged):
        await store.read("s")
    assert await is_there(store, "t")


async def test_a_long_history_comes_back_whole(store: SqliteStore) -> None:
    history = [line(number) for number in range(5_000)]
    await store.write(creation("s", history=history), limit=LIMIT)
    assert list((await found(store)).lines) == history


async def test_a_file_is_closed_though_its_closer_is_cancelled(path: Path) -> None:
    """A lock on it would else stay with this process, and nobody on this machine could go on."""
    file, go_on = SqliteFile(path, prepare), threading.Event()

    def hold(db: sqlite3.Connection) -> None:
        db.execute("BEGIN EXCLUSIVE")
        go_on.wait(10)

    held = asyncio.create_task(file.call(hold))
    await asyncio.sleep(0)
    closed = asyncio.create_task(file.close())
    await asyncio.sleep(0)
    closed.cancel()
    go_on.set()
    await asyncio.wait([held, closed])
    assert closed.cancelled()
    other = SqliteFile(path, prepare, busy_seconds=0)
    await other.call(lambda db: db.execute("BEGIN EXCLUSIVE"))
    await other.close()
