"""A table of tokens, for a small team: who has which token, without the tokens themselves.

A line is a JSON object; empty lines and those that begin with ``#`` are passed over::

    {"subject":"anna","hash":"sha256:…","expires":"2027-01-01T00:00:00Z","scopes":["…"]}

A token is 256 random bits, so that a plain SHA-256 of it cannot be reversed by guessing.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated

import msgspec
from mcp.server.auth.provider import AccessToken, TokenVerifier

from ..config.http import TABLE
from ..errors import BadInput, ConfigError

log = logging.getLogger(__name__)

_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class TokenLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of the table. ``expires`` is a moment with its time zone; without one the token does not expire."""

    subject: Annotated[str, msgspec.Meta(min_length=1)]
    hash: str
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    scopes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _HASH.fullmatch(self.hash):
            raise ValueError("hash is not 'sha256:' and 64 hex digits; 'flywheel users token' makes a line")

    @property
    def has_expired(self) -> bool:
        """Whether it counts no more."""
        return self.expires is not None and self.expires <= datetime.now(UTC)


def new_token(subject: str, *, days: int | None = None, scopes: Sequence[str] = ()) -> tuple[str, str]:
    """A new token for a subject, and its line for the table; the token cannot be had from the line.

    Raises:
        BadInput: the subject is empty.
    """
    if not subject.strip():
        raise BadInput("the subject is empty; it is the name by which its sessions are told from those of others")
    token = f"flywheel_{secrets.token_urlsafe(32)}"
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) if days else None
    line = TokenLine(subject, _hash_of(token), expires, tuple(scopes))
    return token, msgspec.json.encode(line).decode()


def read_table(text: str, where: str) -> tuple[TokenLine, ...]:
    """The lines of a table.

    Raises:
        ConfigError: a line is wrong, or there is none; says which, and does not quote it.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            lines.append(msgspec.json.decode(line, type=TokenLine))
        except (msgspec.DecodeError, ValueError) as error:
            raise ConfigError(f"{where}, line {number}: {error}") from None
    if not lines:
        raise ConfigError(f"{where} has no token; 'flywheel users token SUBJECT' makes one, and its line")
    return tuple(lines)


class TokenTable(TokenVerifier):
    """Knows the tokens of a table.

    A file is read again when it changes, so a token whose line is taken out ends at once. A file that was changed
    into one that cannot be read changes nothing: the log says so.
    """

    def __init__(self, lines: Sequence[TokenLine]) -> None:
        self._lines = tuple(lines)
        self._file: Path | None = None
        self._stamp: object = None

    @classmethod
    def of_file(cls, path: Path) -> TokenTable:
        """The table in a file.

        Raises:
            ConfigError: it cannot be read, or a line is wrong.
        """
        stamp = _stamp_of(path)
        table = cls(_read_file(path))
        table._file, table._stamp = path, stamp
        return table

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who has this token; None if nobody has, or it has expired."""
        self._look_again()
        line = self._find(token)
        if line is None or line.has_expired:
            log.warning("a token was refused: %s", "expired" if line else "unknown")
            return None
        return AccessToken(
            token="",  # nobody needs it any more, and what is not kept is not shown
            client_id=line.subject,
            scopes=list(line.scopes),
            subject=line.subject,
            claims={"iss": TABLE},
        )

    def _find(self, token: str) -> TokenLine | None:
        presented, found = _hash_of(token), None
        for line in self._lines:  # all of them: how long it takes tells nothing
            if compare_digest(line.hash, presented):
                found = line
        return found

    def _look_again(self) -> None:
        if self._file is None or (stamp := _stamp_of(self._file)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._lines = _read_file(self._file)
        except ConfigError as error:
            log.error("the tokens stay as they were: %s", error)


def _hash_of(token: str) -> str:
    return f"sha256:{sha256(token.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _stamp_of(path: Path) -> object:
    """Something that is another one when the file has changed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_file(path: Path) -> tuple[TokenLine, ...]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"http.auth.tokens_file {path} cannot be read: {why}") from error
    return read_table(text, str(path))
