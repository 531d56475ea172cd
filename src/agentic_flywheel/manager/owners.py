"""Whose sessions are."""

from __future__ import annotations

from ..errors import BadInput
from ..session import UniversalSession
from ..stores import Stored
from ..stores.owned import acting
from .changes import Origin

OWNER = "owner"
"""The key of a session's metadata that names its owner's principal."""


def sign(session: UniversalSession) -> None:
    """Write into a session that is to be created whose it will be."""
    if principal := acting():
        session.metadata[OWNER] = principal


def is_whose_name_it_bears(session: UniversalSession, stored: Stored) -> bool:
    """Whether a session that lies under an owner's name says itself that it is his.

    A document that was put there by other means than ours is nobody's.
    """
    owner = stored.shared_by or acting()
    return not owner or session.metadata.get(OWNER) == owner


def refuse_reader(session: UniversalSession) -> None:
    """Keep from writing who may only read.

    Raises:
        BadInput: the session is somebody else's, who shows it; says how to go on.
    """
    origin = session.origin
    if isinstance(origin, Origin) and origin.shared_by:
        raise BadInput(f"session {session.id!r} is shared with you to be read; to go on with it, fork it")
