"""Who may call over HTTP, as the settings say: which tokens are good."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings
from pydantic import ValidationError

from ..config import HttpAuthSettings, HttpSettings
from ..errors import ConfigError
from .jwks import Keys
from .jwt_tokens import ALGORITHMS, JwtVerifier
from .listening import is_loopback
from .tokens import TokenTable, read_table

UNNAMED = "http://localhost"
"""The issuer that the SDK is told of for a table of tokens; it is shown to nobody."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What lets callers in: the SDK asks ``verifier``, and tells clients what ``settings`` says."""

    verifier: TokenVerifier
    settings: AuthSettings

    @property
    def scopes(self) -> list[str]:
        """What every token must have."""
        return self.settings.required_scopes or []


def guard_of(http: HttpSettings) -> Guard | None:
    """The guard that the settings describe; None if they describe none.

    Raises:
        ConfigError: a setting is wrong, lacks, or goes against another one.
    """
    auth = http.auth
    has_table = auth.tokens is not None or auth.tokens_file is not None
    has_issuer = any(value is not None for value in (auth.issuer, auth.jwks_url, auth.audience))
    if has_table and has_issuer:
        raise ConfigError("http.auth has both a table of tokens and an issuer; choose one of them")
    if has_issuer:
        return _of_issuer(http)
    return _of_table(auth) if has_table else None


def _of_table(auth: HttpAuthSettings) -> Guard:
    if auth.tokens is not None:
        table = TokenTable(read_table(auth.tokens, "the table of tokens (FLYWHEEL_TOKENS, http.auth.tokens)"))
    else:
        table = TokenTable.of_file(Path(auth.tokens_file or "").expanduser())
    return Guard(table, _settings(UNNAMED, None, auth))


def _of_issuer(http: HttpSettings) -> Guard:
    auth = http.auth
    if not (auth.issuer and auth.jwks_url and http.url):
        raise ConfigError(
            "tokens of an issuer need http.auth.issuer, http.auth.jwks_url (where it publishes its keys) and "
            "http.url (the address at which clients reach this server)"
        )
    if unknown := sorted(set(auth.algorithms) - ALGORITHMS) or not auth.algorithms:
        raise ConfigError(
            f"http.auth.algorithms has {unknown or 'none'}; possible are {', '.join(sorted(ALGORITHMS))}"
        )
    _check_jwks_url(auth.jwks_url)
    verifier = JwtVerifier(
        Keys(auth.jwks_url),
        issuer=auth.issuer,
        audience=auth.audience or http.url,
        algorithms=auth.algorithms,
    )
    return Guard(verifier, _settings(auth.issuer, http.url, auth))


def _check_jwks_url(url: str) -> None:
    """Keys that somebody on the way can replace are no keys."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return
    raise ConfigError("http.auth.jwks_url is not https://…")


def _settings(issuer: str, url: str | None, auth: HttpAuthSettings) -> AuthSettings:
    try:
        return AuthSettings.model_validate(
            {
                "issuer_url": issuer,
                "resource_server_url": url,
                "required_scopes": list(auth.scopes) or None,
                "validate_token_resource": False,  # our verifiers check the audience themselves
            }
        )
    except ValidationError as error:
        names = ", ".join(str(problem["loc"][0]) for problem in error.errors())
        raise ConfigError(f"http.auth.issuer and http.url are URLs (https://…); wrong: {names}") from error
