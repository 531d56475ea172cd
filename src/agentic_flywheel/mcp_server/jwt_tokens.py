"""Tokens of an issuer: signed JSON web tokens (JWT), checked with the keys that it publishes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from mcp.server.auth.provider import AccessToken, TokenVerifier

from .jwks import Keys

log = logging.getLogger(__name__)

ALGORITHMS = frozenset(
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA"]
)
"""Those that can be allowed: a public key checks them. With a shared secret, who can check could also sign."""

LEEWAY_SECONDS = 30  # by which the issuer's clock may be ahead of ours
REQUIRED = ["exp", "iss", "aud", "sub"]


class JwtVerifier(TokenVerifier):
    """Knows the tokens of an issuer that are for this server.

    Args:
        keys: the issuer's.
        issuer: its name, exactly as tokens have it in ``iss``.
        audience: who a token must be for, in ``aud``.
        algorithms: the ones that are allowed, of `ALGORITHMS`.
    """

    def __init__(self, keys: Keys, *, issuer: str, audience: str, algorithms: Sequence[str]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = list(algorithms)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token this is; None if it is not good: signature, algorithm, key, issuer, audience, times.

        Raises:
            KeysAwayError: that cannot be told now.
        """
        try:
            claims = await self._claims(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            log.warning("a token was refused: %s", type(error).__name__)
            return None
        subject = claims["sub"]
        return AccessToken(
            token="",  # nobody needs it any more, and what is not kept is not shown
            client_id=str(claims.get("client_id") or claims.get("azp") or subject),
            scopes=_scopes(claims),
            expires_at=int(claims["exp"]),
            subject=subject,
            claims={"iss": self._issuer},
        )

    async def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in self._algorithms:  # before a key is looked for
            raise jwt.InvalidAlgorithmError
        key_id = header.get("kid")
        key = await self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise jwt.InvalidKeyError
        return jwt.decode(
            token,
            key,
            algorithms=self._algorithms,
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED},
        )


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """What the token allows: a text with spaces (RFC 9068), or a list, as some issuers have it."""
    found = claims.get("scope", claims.get("scp", ""))
    return found.split() if isinstance(found, str) else [str(scope) for scope in found or ()]
