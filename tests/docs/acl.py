"""The ACL lines of docs/operators.md."""

from tests.docs.examples import ROOT

PASSWORD = "a-long-random-password"

_USER = "ACL SETUSER flywheel "


def on_a_server() -> list[str]:
    """The words behind the user's name that a Redis server needs."""
    return _line("on", "+evalsha")


def in_a_cluster() -> list[str]:
    """The words that each server of a cluster needs besides."""
    return _line("+cluster|slots")


def on_a_sentinel() -> list[str]:
    """The words that a sentinel needs."""
    return _line("on", "+sentinel|masters")


def _line(*words: str) -> list[str]:
    """The words of the one line that has these."""
    lines = (ROOT / "docs/operators.md").read_text("utf-8").splitlines()
    every = [line.removeprefix(_USER).split() for line in lines if line.startswith(_USER)]
    (line,) = (line for line in every if set(words) <= set(line))
    return line
