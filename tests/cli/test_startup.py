"""What starts fast: sets of modules, not wall-clock times, so that it holds on any machine."""

import subprocess
import sys


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after running some code."""
    script = f"import sys\n{code}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {line.partition(".")[0] for line in done.stdout.splitlines()}


RUN_HELP = """
import contextlib, io
from agentic_flywheel.cli import main
sys.argv = ["flywheel", "{arguments}", "--help"] if "{arguments}" else ["flywheel", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
    main()
"""


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import agentic_flywheel")
    assert "agentic_flywheel" in loaded
    assert not loaded & {
        "redis",
        "mcp",
        "typer",
        "rich",
        "msgspec",
        "httpx2",
        "httpcore2",
        "pydantic",
        "asyncio",
        "sqlite3",
        "cryptography",
    }


def test_help_loads_only_what_draws_it() -> None:
    """Typer itself loads pydantic for a command's own help, so that is not asked of those."""
    heavy = {"redis", "mcp", "httpx2", "httpcore2", "msgspec", "asyncio", "sqlite3", "platformdirs"}
    for arguments in ("", "demo", "sessions", "flows", "doctor", "mcp", "users", "keys"):
        loaded = modules_after(RUN_HELP.format(arguments=arguments))
        assert {"typer", "rich"} <= loaded
        assert not loaded & heavy
    assert "pydantic" not in modules_after(RUN_HELP.format(arguments=""))


def test_the_library_on_sqlite_loads_no_driver_of_others() -> None:
    code = "from agentic_flywheel.integrations import RedisSessionManager as M\nM(url='sqlite:///nowhere.db')"
    assert not modules_after(code) & {"redis", "mcp", "typer", "rich", "httpcore2", "pydantic", "cryptography"}
