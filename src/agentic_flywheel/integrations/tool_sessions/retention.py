"""How long sessions are kept, in words that a tool's description can say."""

from __future__ import annotations

from ...manager import SessionManager


def retention(sessions: SessionManager) -> str:
    """How long this manager keeps a session, as one or two sentences."""
    if not sessions.enabled or sessions.store.name == "memory":
        return "This server keeps sessions in memory only: they end with it."
    if not sessions.ttl.session:
        return "A session is kept until it is deleted, unless ttl_seconds says otherwise."
    return (
        f"A session is kept for {duration(sessions.ttl.session)} after its last use, unless ttl_seconds says "
        "otherwise; each use starts the time again."
    )


def duration(seconds: int) -> str:
    """A number of seconds as people say it, exactly: ``7 days``, ``90 minutes``, ``100 seconds``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds and seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}" + ("s" if count > 1 else "")
    return f"{seconds} second" + ("" if seconds == 1 else "s")
