"""Sealing: AES-GCM under keys of a session's own, which are kept apart from it, wrapped by a master key.

What is sealed becomes ``{"sealed": "<id of the key>.<base64>"}`` beside the fields that stay readable. It is bound
to these, to the session and to the kind of the document: nothing sealed can be moved to another turn or session.

The nonce is made of a key and of what is sealed, not of chance. So the same value in the same place is always
written alike: a write that is repeated stays the same write, and heads merge key by key without being opened.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from ..errors import ConfigError, Damaged, MissingExtra, Sealed
from ..jsontext import decode, encode

KEY_BYTES = 32
SEALED = "sealed"

_NONCE_BYTES = 12
_FORM = re.compile(r"([0-9a-f]{8})\.([A-Za-z0-9+/]+=*)")


def is_sealed(value: Any) -> bool:
    """Whether a value has the form of what `SessionKeys` seals."""
    return isinstance(value, str) and _FORM.fullmatch(value) is not None


class SessionKeys:
    """The keys of one session: the first one seals, all of them open.

    Args:
        session_id: whose they are.
        keys: 32 bytes each, by their ids, oldest first; one at least.
    """

    def __init__(self, session_id: str, keys: Mapping[str, bytes]) -> None:
        self._session_id = session_id
        self._keys = {name: _DataKey(key) for name, key in keys.items()}
        self._first = next(iter(keys))

    def __deepcopy__(self, _: object) -> SessionKeys:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled: pickle session.to_dict() of an encrypted session")

    def knows(self, sealed: str) -> bool:
        """Whether the key that sealed something is among these."""
        return sealed[:8] in self._keys

    def seal(self, kind: str, fields: dict[str, Any], readable: Iterable[str]) -> dict[str, Any]:
        """A document of which only the ``readable`` fields can be read, where they hold text or numbers."""
        outside = {name: fields[name] for name in readable if isinstance(fields.get(name), str | int)}
        return {**outside, SEALED: self._seal(encode(fields), self._place(kind, outside))}

    def open(self, kind: str, document: dict[str, Any]) -> dict[str, Any]:
        """The document that was sealed.

        Raises:
            Sealed: its key is not among these.
            Damaged: it was changed since.
        """
        outside = {name: value for name, value in document.items() if name != SEALED}
        fields: dict[str, Any] = self._open(document[SEALED], self._place(kind, outside))
        return fields

    def seal_parts(self, parts: Iterable[tuple[list[str], Any]]) -> dict[str, str]:
        """Values by their paths, each sealed for itself under a name that tells nothing."""
        sealed = {}
        for path, value in parts:
            name = self._keys[self._first].name(encode(path))
            sealed[name] = self._seal(encode([path, value]), self._place("part", name))
        return sealed

    def open_parts(self, sealed: Mapping[str, str]) -> list[tuple[list[str], Any]]:
        """The values of `seal_parts`; where a path was sealed under several keys, the newest one's is the last."""
        order = list(self._keys)
        names = sorted(sealed, key=lambda name: order.index(sealed[name][:8]) if self.knows(sealed[name]) else -1)
        return [tuple(self._open(sealed[name], self._place("part", name))) for name in names]

    def _place(self, kind: str, outside: object) -> bytes:
        return encode([kind, self._session_id, outside])

    def _seal(self, plain: bytes, place: bytes) -> str:
        return f"{self._first}.{base64.b64encode(self._keys[self._first].seal(plain, place)).decode()}"

    def _open(self, sealed: str, place: bytes) -> Any:
        key = self._keys.get(sealed[:8])
        if key is None:
            raise Sealed(
                f"session {self._session_id!r} holds something that is encrypted with a key that it does not have "
                "(any more): the key was erased, or it still waits in the journal of the machine that made it"
            )
        try:
            return decode(key.open(base64.b64decode(sealed[9:], validate=True), place))
        except ValueError as error:
            raise Damaged(
                f"session {self._session_id!r}: what is encrypted was changed since it was written, or moved here "
                "from elsewhere"
            ) from error


class MasterKeys:
    """The keys that wrap the keys of sessions: the first one wraps, all of them unwrap.

    Args:
        keys: 32 bytes each; one at least.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = {hashlib.sha256(b"flywheel master key " + key).hexdigest()[:8]: _aes(key) for key in keys}
        self.first = next(iter(self._keys))

    @classmethod
    def of_text(cls, text: str, where: str) -> MasterKeys:
        """The keys of a text: base64 each, between spaces, commas or newlines; ``where`` says where it stands.

        Raises:
            ConfigError: there is none, or one is none; never shows it.
            MissingExtra: `cryptography` is not installed.
        """
        keys = []
        for place, word in enumerate(re.split(r"[\s,]+", text.strip()), 1):
            try:
                keys.append(base64.b64decode(word, validate=True))
            except ValueError:
                keys.append(b"")
            if len(keys[-1]) != KEY_BYTES:
                raise ConfigError(
                    f"key {place} in {where} is no master key: 32 bytes in base64; 'flywheel keys new' makes one"
                )
        return cls(keys)

    @property
    def names(self) -> list[str]:
        """The ids of the keys, the one that wraps first."""
        return list(self._keys)

    def wrap(self, key: bytes, session_id: str, name: str) -> str:
        """A session's key, wrapped by the first of these."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped = nonce + self._keys[self.first].encrypt(nonce, key, encode([session_id, name]))
        return f"{self.first}.{base64.b64encode(wrapped).decode()}"

    def unwrap(self, wrapped: str, session_id: str, name: str) -> bytes:
        """A session's key.

        Raises:
            Sealed: none of these wrapped it; says which one did.
            Damaged: it was changed since.
        """
        master = self._keys.get(wrapped[:8])
        if master is None:
            raise Sealed(
                f"the key of session {session_id!r} is wrapped by the master key {wrapped[:8]!r}, and there is "
                f"only {', '.join(self._keys)}: add that one, behind the others, to FLYWHEEL_MASTER_KEYS or to the "
                "file of encryption.keys_file"
            )
        data = base64.b64decode(wrapped[9:])
        return _opened(master, data, encode([session_id, name]), f"the wrapped key of session {session_id!r}")


class _DataKey:
    def __init__(self, key: bytes) -> None:
        self._aes = _aes(_derived(key, b"seal"))
        self._nonces = _derived(key, b"nonce")
        self._names = _derived(key, b"name")

    def name(self, path: bytes) -> str:
        return hmac.digest(self._names, path, "sha256").hex()[:24]

    def seal(self, plain: bytes, place: bytes) -> bytes:
        digest = hmac.new(self._nonces, len(place).to_bytes(8, "big"), "sha256")
        digest.update(place)
        digest.update(plain)
        nonce = digest.digest()[:_NONCE_BYTES]
        sealed: bytes = nonce + self._aes.encrypt(nonce, plain, place)
        return sealed

    def open(self, data: bytes, place: bytes) -> bytes:
        return _opened(self._aes, data, place, "it")


def _opened(aes: Any, data: bytes, place: bytes, what: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        plain: bytes = aes.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place)
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"{what} was changed since it was written") from error
    return plain


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"flywheel " + purpose, "sha256")


@lru_cache(maxsize=1)
def _aesgcm() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingExtra("encryption", "encryption") from error
    return AESGCM


def _aes(key: bytes) -> Any:
    return _aesgcm()(key)


def new_key() -> bytes:
    """A key of 256 random bits."""
    return secrets.token_bytes(KEY_BYTES)
