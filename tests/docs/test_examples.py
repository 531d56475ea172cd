"""Every example of the documentation runs, on each kind of store, and prints what the page says."""

import sys
from pathlib import Path

import pytest

from tests.docs.examples import NOT_RUN, ROOT, blocks_of, follow

PAGES = ["README.md", "docs/guide.md"]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder to work in, whose modules can be imported; nothing of them stays behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FLYWHEEL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("FLOWISE_API_KEY", raising=False)
    for name in ("answers", "shop"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_on_sqlite(page: str, folder: Path) -> None:
    """With nothing configured, the examples work on the embedded file."""
    follow(page, folder)


@pytest.mark.parametrize("page", PAGES)
def test_on_redis(page: str, folder: Path, kv_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one variable set, the same examples work on a server."""
    monkeypatch.setenv("FLYWHEEL_REDIS_URL", kv_url)
    follow(page, folder)


def test_other_pages_have_no_examples_that_nobody_runs() -> None:
    """Blocks of Python stand on the pages that are run; one that cannot be run says so, and there are few."""
    pages = [*ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    others = [str(page.relative_to(ROOT)) for page in pages if str(page.relative_to(ROOT)) not in PAGES]
    assert [page for page in others if list(blocks_of(page))] == []
    excused = [block for page in PAGES for block in blocks_of(page) if block.text.startswith(NOT_RUN)]
    assert len(excused) <= 1
