"""Identifiers: made opaque and unguessable, checked before they reach a store."""

from __future__ import annotations

import os
import re
import unicodedata

from ..errors import BadSessionId

MAX_ID_LENGTH = 256
RANDOM_BYTES = 16  # 128 bits: the least that MCP's SEP-2567 asks of a handle


_PLAIN = re.compile(r"[ -~]+")


def new_id(kind: str) -> str:
    """A new opaque identifier, such as ``session_6f0c…``, with 128 bits of randomness."""
    return f"{kind}_{os.urandom(RANDOM_BYTES).hex()}"


def check_session_id(session_id: object) -> str:
    """The id itself, if it may name a session: 1 to 256 characters, none of them a control character.

    Raises:
        BadSessionId: it may not; the message says why.
    """
    if not isinstance(session_id, str):
        raise BadSessionId(f"a session id is text, not {type(session_id).__name__}")
    if not session_id:
        raise BadSessionId("a session id is empty; create a session to get one")
    if len(session_id) > MAX_ID_LENGTH:
        raise BadSessionId(f"a session id has {len(session_id):,} characters; the limit is {MAX_ID_LENGTH}")
    if _PLAIN.fullmatch(session_id):
        return session_id
    for place, character in enumerate(session_id):
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise BadSessionId(
                f"a session id holds the control character U+{ord(character):04X} at position {place}"
            )
    return session_id
