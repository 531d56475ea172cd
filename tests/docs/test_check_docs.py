"""The documentation's own check finds what it says that it finds."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.examples import ROOT

Edit = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """scripts/check_docs.py as a module."""
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "scripts/check_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sound(check: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the documentation in which all is well."""
    folder = tmp_path_factory.mktemp("sound")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")  # the README shows its results
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    check.write(folder)
    assert list(check.faults_of(folder)) == []
    return folder


@pytest.fixture
def pages(sound: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(sound, tmp_path / "pages"))


@pytest.fixture
def edit(pages: Path) -> Edit:
    """Replaces words on a page of the copy."""

    def replace(page: str, old: str, new: str) -> None:
        text = (pages / page).read_text("utf-8")
        assert old in text
        (pages / page).write_text(text.replace(old, new), "utf-8")

    return replace


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("### Tool `fork_session`", "### Tool `fork`"),
        ("### `flywheel sessions copy`", "### `flywheel sessions move`"),
        ("fork_session(session_id: str, *, last: int | None = None)", "fork_session(session_id: str)"),
        ("`<prefix>:tombstone:<id>`", "`<prefix>:grave:<id>`"),
    ],
)
def test_a_part_that_is_out_of_date(check: ModuleType, pages: Path, edit: Edit, old: str, new: str) -> None:
    """A generated part that is not what the code says is a fault, and is mended by writing it."""
    edit("docs/reference.md", old, new)
    (fault,) = check.faults_of(pages)
    assert "is out of date" in fault
    check.write(pages)
    assert list(check.faults_of(pages)) == []


def test_a_part_without_its_place(check: ModuleType, pages: Path, edit: Edit) -> None:
    """A page that lost the place for a generated part is a fault."""
    edit("docs/reference.md", "<!-- generated: mcp -->", "")
    assert "docs/reference.md: has no place for the generated part 'mcp'" in check.faults_of(pages)


@pytest.mark.parametrize(
    ("page", "target", "fault"),
    [
        ("README.md", "docs/nowhere.md", "README.md: docs/nowhere.md leads to no file"),
        ("docs/guide.md", "#nothing", "docs/guide.md: #nothing leads to no heading"),
        ("docs/guide.md", "operators.md#nothing", "docs/guide.md: operators.md#nothing leads to no heading"),
    ],
)
def test_a_dead_link(check: ModuleType, pages: Path, page: str, target: str, fault: str) -> None:
    """A link to a file or a heading that is not there is a fault."""
    with (pages / page).open("a", encoding="utf-8") as text:
        text.write(f"\n[more]({target})\n")
    assert list(check.faults_of(pages)) == [fault]


def test_settings(check: ModuleType, pages: Path, edit: Edit) -> None:
    """A setting that is not documented, is no more, or has another default, is a fault."""
    edit("docs/reference.md", "| `journal.budget_ms` | `100` |", "| `journal.budget` | `100` |")
    edit("docs/reference.md", "| `limits.turn_bytes` | `16777216` |", "| `limits.turn_bytes` | `1` |")
    assert list(check.faults_of(pages)) == [
        "docs/reference.md: there is no setting journal.budget",
        "docs/reference.md: the setting journal.budget_ms is not documented",
        "docs/reference.md: the default of limits.turn_bytes is `16777216`, not `1`",
    ]


def test_variables(check: ModuleType) -> None:
    """A variable that the code reads and the reference does not name is a fault."""
    faults = list(check.variable_faults("`FLYWHEEL_PREFIX` `REDIS_URL`"))
    assert any("FLYWHEEL_STATE_DIR" in fault for fault in faults)
    assert not any("FLYWHEEL_PREFIX" in fault for fault in faults)
