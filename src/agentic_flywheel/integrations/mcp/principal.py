"""Who calls, and which sessions are theirs. Every decision about that is made in this module."""

from __future__ import annotations

from hashlib import sha256

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components

from ...codec import Summary, summarize
from ...errors import Unreadable
from ...jsontext import encode
from ...manager import Loaded, SessionManager
from ...session import UniversalSession
from ...session.parts import unpack_head
from ...stores import Listed
from ...stores.deadline import within
from .problems import unknown

OWNER = "owner"
"""The key of a session's metadata that names its owner's principal."""

LOOKED_THROUGH = 1000  # sessions used last, of all owners, among which a listing finds one's own


def principal() -> str | None:
    """The caller of the call that is being served; None where nobody has to say who they are.

    The access token's issuer and subject, or its client where it has no subject, as `principal_of` names them.
    """
    token = get_access_token()
    if token is None:
        return None
    client_id, issuer, subject = principal_components(token)
    return _digest(issuer, subject) if subject is not None else _digest(issuer, None, client_id)


def principal_of(issuer: str | None, subject: str) -> str:
    """The principal that a subject of an issuer is: 32 hex digits, always the same ones.

    A hash, so that what is stored under it does not name the person, and so that no subject can be spelled like
    another issuer's.
    """
    return _digest(issuer, subject)


def own(session: UniversalSession, principal: str | None) -> None:
    """Make a new session the caller's."""
    if principal is not None:
        session.metadata[OWNER] = principal


def is_owner(session: UniversalSession, principal: str | None) -> bool:
    """Whether a session is the caller's. One that was made without authentication belongs to callers without."""
    return session.metadata.get(OWNER) == principal


def owned(loaded: Loaded, session_id: str, principal: str | None) -> UniversalSession:
    """The session that was loaded, if it is the caller's.

    Raises:
        SessionNotFound: it is not, or is not there: the same error. What cannot be told of a damaged one, either.
        Damaged, Newer, Unavailable: as `Loaded.need`.
    """
    if loaded.session is not None and not is_owner(loaded.session, principal):
        raise unknown(session_id)
    unowned = loaded.state in ("damaged", "newer") and principal is not None
    if loaded.state == "absent" or unowned:
        raise unknown(session_id)
    return loaded.need()


async def own_sessions(sessions: SessionManager, principal: str | None, limit: int) -> list[Summary]:
    """Summaries of the caller's sessions, the one used last first.

    Raises:
        StoreError: the store cannot be reached.
    """
    found: list[Summary] = []
    for reach in (limit, LOOKED_THROUGH):
        with within(sessions.budget):
            recent = await sessions.store.recent(reach)
        found = [summary for listed in recent if (summary := _summary_if_own(listed, principal)) is not None]
        if len(found) >= limit or len(recent) < reach:
            break
    return found[:limit]


def _summary_if_own(listed: Listed, principal: str | None) -> Summary | None:
    try:
        metadata = unpack_head(listed.head, listed.last_active)["metadata"]
        return summarize(listed) if metadata.get(OWNER) == principal else None
    except (Unreadable, ValueError, TypeError, LookupError):  # damaged, or newer than this version
        return None


def _digest(*parts: str | None) -> str:
    return sha256(encode(list(parts))).hexdigest()[:32]
