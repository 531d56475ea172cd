"""Who calls: the principal for whom a request is served."""

from __future__ import annotations

from mcp.server.auth.provider import AccessToken, principal_components

from ...session.principal import principal_of
from ...stores.owned import NOBODY


def principal(token: AccessToken | None) -> str:
    """Who calls with an access token, by its issuer and subject; where it has no subject, its client counts.

    `NOBODY` where there is no token, since nobody has to say who they are: over stdio, and over HTTP without
    authentication.
    """
    if token is None:
        return NOBODY
    client_id, issuer, subject = principal_components(token)
    return principal_of(issuer, subject, client_id)
