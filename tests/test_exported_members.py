"""The public surface of the package is a tested fact."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

import agentic_flywheel

PUBLIC = [
    "Execution",
    "Flywheel",
    "FlywheelError",
    "Health",
    "History",
    "Loaded",
    "Saved",
    "SessionManager",
    "Turn",
    "UniversalSession",
]


def test_all() -> None:
    """The package exports these names, all of them usable, and shows them to whoever looks."""
    assert agentic_flywheel.__all__ == PUBLIC
    for name in PUBLIC:
        value = getattr(agentic_flywheel, name)
        assert value.__name__ == name
        assert value.__doc__
        assert value.__module__.startswith("agentic_flywheel.")
    assert set(PUBLIC) <= set(dir(agentic_flywheel))


def test_star_import() -> None:
    """A star import brings exactly the public names."""
    names: dict[str, object] = {}
    exec("from agentic_flywheel import *", names)  # noqa: S102  # the only way to import a star in a function
    assert sorted(names.keys() - {"__builtins__"}) == PUBLIC


def test_unknown_names() -> None:
    """A name that there is not is an AttributeError."""
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = agentic_flywheel.Nothing


def test_version() -> None:
    """The version is the installed one's form."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", agentic_flywheel.__version__)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("agentic_flywheel.integrations", {"RedisSessionManager"}),
        ("agentic_flywheel.integrations.mcp", {"DurableSessions", "State", "get_state"}),
        (
            "agentic_flywheel.integrations.fastmcp",
            {"DurableSessions", "SessionStateStore", "State", "get_state"},
        ),
        ("agentic_flywheel.backends", {"Answer", "Flow", "FlowRegistry", "Question"}),
    ],
)
def test_rooms(module: str, names: set[str]) -> None:
    """The rooms that users enter export at least what is documented of them."""
    found = importlib.import_module(module)
    assert names <= set(found.__all__)
    assert all(hasattr(found, name) for name in found.__all__)


def test_importing_is_cheap() -> None:
    """Importing the package, and its session, loads no driver and no command line."""
    program = (
        "import sys, agentic_flywheel; agentic_flywheel.UniversalSession(backend='x');"
        "print({'redis', 'mcp', 'typer', 'rich', 'httpx2', 'sqlite3', 'asyncio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
