"""Settings of MCP over HTTP."""

from __future__ import annotations

import msgspec

from .times import BadSetting

TABLE = "flywheel:tokens"
"""Who vouches for the subjects of a table, where another issuer has a URL."""


class HttpAuthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may call over HTTP: ``[http.auth]``. A table of tokens, or the tokens (JWT) of an issuer.

    ``tokens`` are the lines of a table themselves. ``audience`` is ``http.url`` if not given. ``scopes`` are what
    every token must have.
    """

    tokens_file: str | None = None
    tokens: str | None = None
    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    scopes: tuple[str, ...] = ()

    @property
    def vouching(self) -> str:
        """Who says that a caller is who they are."""
        return self.issuer or TABLE


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Serving MCP over HTTP: ``[http]``.

    ``url`` is where clients reach the server, if that is another address than the one it listens on.
    ``stop_seconds`` is how long running calls may take to finish when the server is stopped.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    url: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: int = 4 * 1024**2
    stop_seconds: int = 20
    auth: HttpAuthSettings = HttpAuthSettings()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise BadSetting(f"http.port is {self.port}; it is a port, 0 for a free one")
        if self.max_body_bytes < 1 or self.stop_seconds < 0:
            raise BadSetting("http.max_body_bytes is a number of bytes from 1 on, http.stop_seconds of seconds")
