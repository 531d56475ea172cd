"""The journal keeps what it accepted, in order, whatever happens to the processes and to its file."""
# ruff: noqa: ASYNC220, ASYNC221, ASYNC240  # a test that looks at a file, or waits for a process, holds nobody up

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from agentic_flywheel.errors import Deleted, Misconfigured, Unavailable
from agentic_flywheel.resilience import Journal
from agentic_flywheel.resilience.journal import TICK_SECONDS
from agentic_flywheel.resilience.journal_file import Deletion, Records, Work
from agentic_flywheel.stores import Change
from tests.resilience.journal_writer import turn
from tests.stores.sessions import creation, entry, execution, lines
from tests.stores.test_sqlite import ROOT, without_privileges
from tests.stores.worlds import Clock

PATIENCE = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    made = Journal(path)
    yield made
    await made.close()


async def added(journal: Journal) -> list[bytes]:
    """The turns that wait, oldest first."""
    works = [entry.work async for entry in journal.entries()]
    return [line for work in works if isinstance(work, Change) for line in work.added]


async def fill(journal: Journal, *numbers: int, session_id: str = "s") -> None:
    for number in numbers:
        await journal.append(session_id, creation(session_id, number))


def start_writer(path: Path, session_id: str, name: str, turns: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.resilience.journal_writer", str(path), session_id, name, str(turns)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


async def test_tidying_keeps_what_waits(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log is brought into the file beside those who append, and everything waits as before."""
    monkeypatch.setattr("agentic_flywheel.resilience.journal.LONG_LOG", 1)
    await fill(journal, *range(20))
    before = path.stat().st_size
    await asyncio.gather(journal.tidy(), fill(journal, *range(20, 40)))
    assert path.stat().st_size > before
    assert await added(journal) == lines(*range(40))


async def test_a_tidied_log_is_short(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be tidied again and again, each time waiting for the disk."""
    log = Path(f"{path}-wal")
    await fill(journal, *range(20))
    monkeypatch.setattr("agentic_flywheel.resilience.journal.LONG_LOG", log.stat().st_size)
    await journal.tidy()
    assert log.stat().st_size == 0


class TestWhatWaits:
    async def test_order(self, journal: Journal) -> None:
        """Work of every kind comes back as it was accepted, in that order, of one session or of all."""
        works: list[Work] = [
            creation("s", 1, records=[]),
            Deletion("t", "2025-01-01T00:00:00Z", 5),
            Records((execution("e"), entry("a"))),
        ]
        for session_id, work in zip(["s", "t", "s"], works, strict=True):
            assert await journal.append(session_id, work)
        assert [found.work for found in await journal.oldest(10)] == works
        _, entries = await journal.work_of("s")
        assert [found.work for found in entries] == [works[0], works[2]]
        assert await journal.sessions() == {"s", "t"}
        assert [found.work for found in await journal.oldest(1)] == works[:1]

    async def test_long_listings(self, journal: Journal) -> None:
        """All entries are listed, however many pages they fill."""
        await journal.append("s", creation("s", 0))
        await asyncio.gather(*(journal.append("s", creation("s", number)) for number in range(1, 1100)))
        assert sorted(await added(journal)) == sorted(lines(*range(1100)))

    async def test_removing(self, journal: Journal) -> None:
        """What is removed waits no more, and twice is as good as once."""
        await fill(journal, 1, 2, 3)
        done = await journal.oldest(2)
        await journal.remove(done)
        await journal.remove(done)
        assert await added(journal) == lines(3)
        pending = await journal.pending()
        assert (pending.entries, pending.bytes) == (1, len((await journal.oldest(1))[0].data))

    async def test_refusing(self, journal: Journal) -> None:
        """What is set aside waits no more, is kept with the reason, and may be accepted again in its place."""
        await fill(journal, 1, 2)
        (first, _) = await journal.oldest(2)
        await journal.refuse(first, "too large")
        assert await added(journal) == lines(2)
        (refused,) = [found async for found in journal.entries(refused=True)]
        assert (refused.refused, refused.work) == ("too large", first.work)
        assert (await journal.pending()).refused == 1
        assert await journal.accept_again() == 1
        assert await added(journal) == lines(1, 2)

    async def test_what_came_since(self, journal: Journal) -> None:
        """Who knows what waits of a session gets only what came since, as long as all of that still waits."""
        await fill(journal, 1, 2)
        await fill(journal, 9, session_id="t")
        _, known = await journal.work_of("s")
        assert known[-1].place is not None
        seen = len(known), known[-1].place
        assert await journal.work_of("s", seen) == (True, [])
        await fill(journal, 3)
        all_wait, new = await journal.work_of("s", seen)
        assert all_wait
        assert [each.work.added for each in new if isinstance(each.work, Change)] == [lines(3)]
        await journal.remove(known[:1])
        all_wait, left = await journal.work_of("s", seen)
        assert (all_wait, left) == (False, [known[1], *new])

    async def test_queueing_up(self, journal: Journal) -> None:
        """Work may ask to be accepted only behind earlier work of its session."""
        assert not await journal.append("s", creation("s", 1), behind=True)
        await fill(journal, 2)
        assert await journal.append("s", creation("s", 3), behind=True)
        assert not await journal.append("t", creation("t", 4), behind=True)
        assert await added(journal) == lines(2, 3)

    async def test_records_are_found_by_name(self, journal: Journal) -> None:
        """An execution, or a flow's history, is found among all that waits, and no more when it is done."""
        await journal.append("s", creation("s", 1, records=[execution("e", b"1"), entry("a")]))
        await journal.append("", Records((execution("e", b"2"), entry("b", flow_id="g"))))
        assert [record.data for record in await journal.records_of("execution", "e")] == [b"1", b"2"]
        assert [record.id for record in await journal.records_of("history", "s", "f")] == ["a"]
        assert await journal.records_of("execution", "s") == []
        await journal.remove(await journal.oldest(1))
        assert [record.data for record in await journal.records_of("execution", "e")] == [b"2"]

    async def test_a_deleted_session_is_not_gone_on_with(self, journal: Journal) -> None:
        """Behind a deletion that waits no late writer is accepted, but a new conversation of the name is."""
        await fill(journal, 1)
        await journal.append("s", Deletion("s", "2025-11-18T09:30:00Z", 100))
        for behind in (True, False):
            with pytest.raises(Deleted):
                await journal.append("s", creation("s", 2), behind=behind)
        await journal.append("s", creation("s", 3, created_at="2025-11-18T09:31:00Z"))
        assert await added(journal) == lines(1, 3)

    async def test_the_bound(self, path: Path) -> None:
        """A full journal refuses what is new, says so and what to do, and keeps all that it has."""
        journal = Journal(path, limit=2_000)
        accepted = 0
        with pytest.raises(Unavailable, match=r"is full \(2,000 bytes\).*raise journal.limit_bytes"):  # noqa: PT012  # which one, is seen below
            for number in range(100):
                await fill(journal, number)
                accepted += 1
        assert 1 < accepted < 20
        assert await added(journal) == lines(*range(accepted))
        assert (await journal.pending()).bytes <= 2_000
        await journal.remove(await journal.oldest(1))
        await fill(journal, 100)
        await journal.close()

    async def test_a_clock_that_jumps_back(self, path: Path) -> None:
        """The order is the one of acceptance, whatever the clock says; so is what waits longest."""
        clock = Clock()
        journal = Journal(path, clock=clock)
        await fill(journal, 1)
        clock.now -= 3600
        await fill(journal, 2)
        clock.now += 10
        await fill(journal, 3)
        assert await added(journal) == lines(1, 2, 3)
        assert (await journal.pending()).oldest == clock.now - 10
        await journal.close()

    async def test_it_tells_whether_its_file_has_changed(self, journal: Journal, path: Path) -> None:
        """It notices what another process accepted, and is not put off by its own absence."""
        assert not journal.changed()
        other = Journal(path)
        await fill(other, 1)
        await asyncio.sleep(2 * TICK_SECONDS)
        assert journal.changed()
        await asyncio.sleep(2 * TICK_SECONDS)
        assert not journal.changed()
        await fill(other, *range(20))
        await asyncio.sleep(2 * TICK_SECONDS)
        assert journal.changed()
        await other.close()

    async def test_its_own_changes_are_none(self, journal: Journal, path: Path) -> None:
        """What it changed itself it knows; what others changed meanwhile is not lost with that."""
        await journal.in_use()
        await fill(journal, 1, 2)
        await journal.claim("s", "a", b"{}", seconds=5)
        await asyncio.sleep(2 * TICK_SECONDS)
        assert not journal.changed()
        other = Journal(path)
        await fill(other, 3)
        await fill(journal, 4)
        await asyncio.sleep(2 * TICK_SECONDS)
        assert journal.changed()
        await journal.in_use()
        await asyncio.sleep(2 * TICK_SECONDS)
        assert not journal.changed()
        await other.close()

    async def test_a_file_of_an_earlier_version(self, path: Path) -> None:
        """It gets the indexes that are used now, and what waits in it still waits."""
        older = Journal(path)
        await fill(older, 1, 2)
        await older.close()
        with closing(sqlite3.connect(path)) as db:
            for index in ("by_state", "deletions"):
                db.execute(f"DROP INDEX {index}")
            db.execute("CREATE INDEX by_session ON entries (session_id)")
            db.execute("CREATE INDEX records_by_place ON records (place)")
        journal = Journal(path)
        assert await journal.sessions() == {"s"}
        assert await added(journal) == lines(1, 2)
        await journal.close()
        with closing(sqlite3.connect(path)) as db:
            found = {
                name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX%'")
            }
        assert found == {"by_state", "deletions"}


class TestSmallWork:
    """What is done beside, many at once."""

    async def test_in_order(self, journal: Journal) -> None:
        """It is done in the order in which it was asked for, also among what is waited for."""
        refused: list[str] = []
        for turn_id in "abc":
            journal.note_claim("s", turn_id, b"{}", seconds=5, refused=partial(refused.append, turn_id))
        assert (await journal.claim("s", "d", b"{}", seconds=5)).stands
        await journal.release("s", "a")
        assert not (await journal.claim("s", "d", b"{}", seconds=5)).stands
        assert refused == ["b", "c"]

    async def test_one_that_was_refused_is_not_held(self, journal: Journal, path: Path) -> None:
        """Else the process would ask here for ever who has the session."""
        other = Journal(path)
        await other.claim("s", "theirs", b"{}", seconds=5)
        refused = asyncio.Event()
        journal.note_claim("s", "ours", b"{}", seconds=5, refused=refused.set)
        assert journal.is_claimed_here("s")
        await refused.wait()
        assert not journal.is_claimed_here("s")
        await other.close()

    async def test_many_share_one_transaction(self, journal: Journal) -> None:
        await journal.claim("s", "a", b"{}", seconds=5)
        begun: list[str] = []
        await journal.call(lambda db: db.set_trace_callback(begun.append))
        await asyncio.gather(*(journal.release("s", f"{number}") for number in range(100)))
        assert len([statement for statement in begun if statement.startswith("BEGIN")]) <= 2

    async def test_a_file_that_cannot_be_used(self, journal: Journal, path: Path) -> None:
        """Who waits hears it; the file may be usable again later."""
        path.mkdir(parents=True)
        with pytest.raises(Unavailable):
            await journal.release("s", "a")
        path.rmdir()
        journal.note_claim("s", "a", b"{}", seconds=5, refused=lambda: None)
        assert (await journal.claim("s", "b", b"{}", seconds=5)).stands


class TestProcesses:
    async def test_modes(self, journal: Journal, path: Path) -> None:
        """The file is for its user only, and so is everything beside it."""
        await fill(journal, 1)
        async with journal.replaying():
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    async def test_several_at_once(self, journal: Journal, path: Path) -> None:
        """Several processes append at once: everything is there, each one's in order."""
        writers = [start_writer(path, "s", name, 100) for name in "abc"]
        for writer in writers:
            writer.communicate(timeout=PATIENCE)
            assert writer.returncode == 0
        kept = await added(journal)
        assert len(kept) == 300
        for name in "abc":
            mine = [line for line in kept if line.startswith(b'{"id":"%s-' % name.encode())]
            assert mine == [turn(name, number) for number in range(100)]

    async def test_a_writer_that_is_killed(self, journal: Journal, path: Path) -> None:
        """Every append that returned is there after a SIGKILL at any instant."""
        said: list[bytes] = []
        for round_ in range(10):
            with start_writer(path, "s", f"r{round_}", 1_000_000) as writer:
                assert writer.stdout is not None
                mine = [writer.stdout.readline() for _ in range(3 + 7 * round_)]
                writer.kill()
                said += [line.strip() for line in mine + writer.stdout.readlines() if line.endswith(b"\n")]
        kept = await added(journal)
        assert [line for line in kept if line in set(said)] == said
        assert len(kept) - len(said) <= 10
        assert journal.trouble is None

    async def test_one_replays_at_a_time(self, journal: Journal, path: Path) -> None:
        """The right to replay is one process's; it ends with that process, however it ends."""
        await fill(journal, 1)
        code = (
            "import asyncio, sys\nfrom pathlib import Path\nfrom agentic_flywheel.resilience import Journal\n"
            "async def hold():\n    async with Journal(Path(sys.argv[1])).replaying() as ours:\n"
            "        print(ours, flush=True)\n        await asyncio.Event().wait()\nasyncio.run(hold())"
        )
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"True\n"
            async with journal.replaying() as ours:
                assert not ours
            holder.kill()
        async with journal.replaying() as ours:
            assert ours
            async with Journal(path).replaying() as theirs:
                assert not theirs


class TestFilesThatCannotBeUsed:
    async def refusal(self, journal: Journal, kind: type[Unavailable] = Unavailable) -> str:
        with pytest.raises(kind) as caught:
            await fill(journal, 9)
        return str(caught.value)

    async def test_newer(self, journal: Journal, path: Path) -> None:
        """A journal of a newer version is refused, told, and left as it is."""
        await fill(journal, 1)
        await journal.close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 99")
        before = path.read_bytes()
        message = await self.refusal(journal)
        assert "made by a newer version" in message
        assert "upgrade" in message
        await journal.close()
        assert path.read_bytes() == before

    @pytest.mark.parametrize("locked", ["file", "folder"])
    async def test_read_only(self, journal: Journal, path: Path, locked: str) -> None:
        """A file or folder that may only be read is told, with what to do; what it holds stays."""
        await fill(journal, 1)
        await journal.close()
        before = path.read_bytes()
        target = path if locked == "file" else path.parent
        target.chmod(0o400 if locked == "file" else 0o500)
        code = (
            "import asyncio, sys\nfrom pathlib import Path\nfrom agentic_flywheel.errors import StoreError\n"
            "from agentic_flywheel.resilience import Journal\nfrom tests.stores.sessions import creation\n"
            "async def attempt():\n    try:\n"
            "        await Journal(Path(sys.argv[1])).append('s', creation('s', 2))\n"
            "    except StoreError as error:\n        print(type(error).__name__, error)\nasyncio.run(attempt())"
        )
        command = [*without_privileges(), sys.executable, "-c", code, str(path)]
        try:
            said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
        finally:
            target.chmod(0o700)
        assert said.stdout.startswith("Misconfigured")
        assert "give this user the right" in said.stdout
        assert path.read_bytes() == before

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to somebody else")
    async def test_owned_by_somebody_else(self, journal: Journal, path: Path) -> None:
        """A journal that belongs to another user is told, with what to do, and left as it is."""
        await fill(journal, 1)
        await journal.close()
        os.chown(path, 12345, 12345)
        code = (
            "import asyncio, sys\nfrom pathlib import Path\nfrom agentic_flywheel.errors import StoreError\n"
            "from agentic_flywheel.resilience import Journal\n"
            "async def attempt():\n    try:\n        await Journal(Path(sys.argv[1])).pending()\n"
            "    except StoreError as error:\n        print(type(error).__name__, error)\nasyncio.run(attempt())"
        )
        command = [*without_privileges(), sys.executable, "-c", code, str(path)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
        assert said.stdout.startswith("Misconfigured")
        assert str(path) in said.stdout

    async def test_a_place_that_is_a_folder(self, path: Path) -> None:
        """A folder in the journal's place is told."""
        path.mkdir(parents=True)
        journal = Journal(path)
        assert "FLYWHEEL_STATE_DIR" in await self.refusal(journal, Misconfigured)
        await journal.close()

    async def test_a_full_disk(self, journal: Journal, path: Path) -> None:
        """A full disk refuses what is new, with the reason; what was accepted is there, and it goes on after."""
        code = """
import asyncio, resource, sys
from pathlib import Path
from agentic_flywheel.errors import Unavailable
from agentic_flywheel.resilience import Journal
from agentic_flywheel.resilience.journal import TICK_SECONDS
from tests.stores.sessions import creation
from tests.resilience.journal_writer import turn

async def fill():
    journal, accepted = Journal(Path(sys.argv[1])), 0
    await journal.append("s", creation("s", added=[turn("a", accepted)]))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, most))
    try:
        while True:
            accepted += 1
            await journal.append("s", creation("s", added=[turn("a", accepted)]))
    except Unavailable as error:
        print(accepted, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await journal.append("s", creation("s", added=[turn("a", accepted)]))
    await journal.close()

asyncio.run(fill())
"""
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
        accepted, _, message = done.stdout.partition(" ")
        assert "disk" in message
        assert int(accepted) > 10
        assert await added(journal) == [turn("a", number) for number in range(int(accepted) + 1)]


class TestDamage:
    """A file that was damaged is moved aside, and what can be read of it is kept in a new one."""

    async def damaged(self, journal: Journal, path: Path, count: int, *places: int) -> bytes:
        """Fill it, and overwrite pages of its file; what the file holds then."""
        for number in range(count):
            await journal.append(f"s{number % 3}", creation(f"s{number % 3}", added=[turn("a", number)]))
        await journal.close()
        content = bytearray(path.read_bytes())
        for place in places:
            content[place * 4096 : (place + 1) * 4096] = os.urandom(4096)
        path.write_bytes(content)
        return bytes(content)

    async def test_in_the_middle(self, journal: Journal, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Of a file that is damaged in the middle all is kept that can be read, in order; the rest is counted."""
        count = 400
        pages = (40, 41)  # of about a hundred; the tables' roots stand at the front
        before = await self.damaged(journal, path, count, *pages)
        kept = await added(journal)
        originals = [turn("a", number) for number in range(count)]
        assert [line for line in originals if line in set(kept)] == kept
        assert count - 40 < len(kept) < count
        assert journal.trouble is not None
        assert f"{len(kept)} entries were saved" in journal.trouble
        assert journal.trouble in caplog.text
        (aside,) = path.parent.glob("*.damaged-*.db")
        assert aside.read_bytes() == before
        assert str(aside) in journal.trouble
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_it_goes_on(self, journal: Journal, path: Path) -> None:
        """After the damage the journal accepts work, behind what was saved."""
        await self.damaged(journal, path, 400, 40)
        saved = await added(journal)
        await fill(journal, 7)
        assert await added(journal) == [*saved, *lines(7)]
        (pending, total) = (await journal.pending(), sum(len(found.data) for found in await journal.oldest(1000)))
        assert (pending.entries, pending.bytes) == (len(saved) + 1, total)

    @pytest.mark.parametrize("page", range(1, 16))
    async def test_any_page(self, journal: Journal, path: Path, page: int) -> None:
        """Whichever page is damaged, the journal is usable again and gives what was accepted, in order."""
        await self.damaged(journal, path, 40, page)
        await fill(journal, 7)
        kept = await added(journal)
        originals = [turn("a", number) for number in range(40)]
        assert [line for line in originals if line in set(kept)] == kept[:-1]
        assert kept[-1] == lines(7)[0]

    @pytest.mark.parametrize("content", [b"hello " * 1000, b"SQLite format 3\x00" + b"\xff" * 5000, b"hello"])
    async def test_no_database(self, journal: Journal, path: Path, content: bytes) -> None:
        """A file that is no database is moved aside as it is, and told."""
        path.parent.mkdir()
        path.write_bytes(content)
        await fill(journal, 1)
        assert await added(journal) == lines(1)
        assert "damaged" in (journal.trouble or "")
        (aside,) = path.parent.glob("*.damaged-*.db")
        assert aside.read_bytes() == content

    async def test_a_torn_last_write(self, journal: Journal, path: Path) -> None:
        """A last write that got to the disk in part costs only itself."""
        await fill(journal, *range(20))
        copy = path.with_name("copy.db")
        wal = path.with_name("journal.db-wal").read_bytes()
        shutil.copy(path, copy)
        copy.with_name("copy.db-wal").write_bytes(wal[:-1000])
        torn = Journal(copy)
        assert await added(torn) == lines(*range(19))
        assert torn.trouble is None
        await torn.close()

    async def test_others_notice(self, journal: Journal, path: Path) -> None:
        """A process that has the damaged file open goes on in the new one."""
        await fill(journal, 1)
        await self.damaged(Journal(path), path, 400, 40)
        other = Journal(path)
        await fill(other, 2)
        await fill(journal, 3)
        kept = await added(other)
        assert kept == await added(journal)
        assert kept[-2:] == lines(2, 3)
        await other.close()

    async def test_an_entry_that_makes_no_sense(self, journal: Journal, path: Path) -> None:
        """An entry whose bytes are no work is one without work; the others are as they were."""
        await fill(journal, 1, 2, 3)
        await journal.close()
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("UPDATE entries SET data = x'ff00' WHERE place = 2")
        assert [found.work is None for found in await journal.oldest(10)] == [False, True, False]
