"""Who calls: the owner of what a call makes."""

from __future__ import annotations

from hashlib import sha256

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components

from ..jsontext import encode


def principal() -> str | None:
    """The caller of the call that is being served, as `principal_of` names it.

    None where no guard asks: over stdio, and over HTTP on loopback without authentication.
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


def _digest(*parts: str | None) -> str:
    return sha256(encode(list(parts))).hexdigest()[:32]
