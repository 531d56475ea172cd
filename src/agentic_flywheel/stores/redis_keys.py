"""The names of our keys in Redis.

================================  ===========================================================================
``<prefix>:session:<id>``         a session, one JSON object (see `redis_layout`)
``<prefix>:execution:<id>``       an execution, one JSON object
``<prefix>:history:<id>:<flow>``  the executions of one flow in one session, a JSON array
``<prefix>:index``                sorted set of session ids by last use, for listing; to a second, 50 ms late
``<prefix>:share:<reader>:<id>``  whose session it is that this reader may read
``<prefix>:claim:<id>``           the turn that is run in a session, and until when it has the right to
``<prefix>:damaged:<id>:<time>``  what was no session document and stood in the way of one, for 30 days
``<prefix>:tombstone:<id>``       when a session was deleted, so that no late writer revives it
================================  ===========================================================================

What belongs to a principal has its hash in front of the id: ``<prefix>:session:<owner>:<id>``, and so on; each
has an index of its own, ``<prefix>:index:<owner>``.

Parts that are not plain (``A-Z a-z 0-9 . _ -``) are percent-encoded, so that no id can forge another key or
a pattern. The prefix is ``agentic_flywheel`` unless set otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from .names import BETWEEN, PRINCIPAL, name_of


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys under one prefix."""

    prefix: str = "agentic_flywheel"

    def session(self, session_id: str) -> str:
        """The key of a session."""
        return f"{self.prefix}:session:{_plain(session_id)}"

    def execution(self, execution_id: str) -> str:
        """The key of an execution."""
        return f"{self.prefix}:execution:{_plain(execution_id)}"

    def history(self, session_id: str, flow_id: str) -> str:
        """The key of the history of a flow in a session."""
        return f"{self.prefix}:history:{_plain(session_id)}:{_plain(flow_id)}"

    def claim(self, session_id: str) -> str:
        """The key of the claim on a session."""
        return f"{self.prefix}:claim:{_plain(session_id)}"

    def damaged(self, session_id: str, moment: str) -> str:
        """The key to which a damaged session was moved at a moment."""
        return f"{self.prefix}:damaged:{_plain(session_id)}:{_plain(moment)}"

    def tombstone(self, session_id: str) -> str:
        """The key that notes that a session was deleted."""
        return f"{self.prefix}:tombstone:{_plain(session_id)}"

    def share(self, name: str) -> str:
        """The key that says whose session a reader was given."""
        return f"{self.prefix}:share:{_plain(name)}"

    @property
    def index(self) -> str:
        """The key of the index of what belongs to nobody; with ``:<owner>`` behind it, of what is an owner's."""
        return f"{self.prefix}:index"

    def pattern(self, kind: str) -> str:
        """A SCAN pattern for all keys of a kind; the prefix is taken literally."""
        return re.sub(r"([*?\[\]\\])", r"\\\1", self.prefix) + f":{kind}:*"

    def parts(self, key: bytes, kind: str) -> tuple[str, ...] | None:
        """The ids that a key of a kind was made of; None for a key that we would not have made of any."""
        start = f"{self.prefix}:{kind}:".encode()
        parts = tuple(unquote(part) for part in key.removeprefix(start).decode(errors="replace").split(":"))
        if len(parts) == _PARTS[kind] + 1 and PRINCIPAL.fullmatch(parts[0]):  # it has an owner
            parts = (name_of(*parts[:2]), *parts[2:])
        made = start + ":".join(_plain(part) for part in parts).encode()
        return parts if made == key and len(parts) == _PARTS[kind] else None


_PARTS = {"session": 1, "execution": 1, "history": 2, "damaged": 2, "share": 1, "claim": 1}
_BETWEEN = quote(BETWEEN)


@lru_cache(4096)
def _plain(part: str) -> str:
    return quote(part, safe="").replace("~", "%7E").replace(_BETWEEN, ":")
