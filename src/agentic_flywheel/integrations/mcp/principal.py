"""Who calls: the principal for whom a request is served."""

from __future__ import annotations

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components

from ...session.principal import principal_of
from ...stores.owned import NOBODY


def principal() -> str:
    """The caller of the request that is being served, by the issuer and subject of its access token.

    Where that has no subject, its client counts. `NOBODY` where nobody has to say who they are: over stdio, and
    over HTTP without authentication.
    """
    token = get_access_token()
    if token is None:
        return NOBODY
    client_id, issuer, subject = principal_components(token)
    return principal_of(issuer, subject, client_id)
