"""The form in which a session's documents are stored: masked, and sealed where there are keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import Sealed
from ..jsontext import decode, encode
from .mask import UNMASKED, Mask
from .sealing import SEALED, SessionKeys, is_sealed

# What stays readable: by it documents are found, told apart, listed and kept in order.
_HEAD = frozenset({"schema", "backend", "id", "status", "current_flow_id"})
_METADATA = frozenset({"created_at", "last_active", "ttl_seconds", "owner"})
_READABLE = {
    "turn": ("id", "timestamp"),
    "execution": ("id", "session_id", "flow_id", "started_at"),
    "entry": ("id", "timestamp"),
    "note": ("turn_id", "flow_id", "started_at", "place", "pid", "holder"),
}


@dataclass(frozen=True, slots=True)
class Form:
    """How documents of a session become bytes, and come back. Without ``keys`` they are not sealed."""

    mask: Mask
    keys: SessionKeys | None = None

    def __deepcopy__(self, _: object) -> Form:
        return self

    def write(self, kind: str, fields: dict[str, Any]) -> bytes:
        """A turn, execution, history entry or note, in JSON types, as bytes."""
        masked = self.mask.fields(fields)
        return encode(masked if self.keys is None else self.keys.seal(kind, masked, _READABLE[kind]))

    def read(self, kind: str, data: bytes) -> Any:
        """What `write` was given, masked.

        Raises:
            Sealed: there is no key for it here.
            Damaged: it was changed since it was sealed.
            ValueError: it is no JSON.
        """
        document = decode(data)
        if not sealed_in(document, kind):
            return document
        return self._need().open(kind, document)

    def rewrite(self, kind: str, data: bytes, of: Form) -> bytes:
        """What another form wrote, in this one; the very same bytes where the two do not differ in it."""
        if self.keys is None and of.keys is None:
            return self.mask.document(data)
        return self.write(kind, of.read(kind, data))

    def write_head(self, head: dict[str, Any]) -> dict[str, Any]:
        """A session's head, in JSON types, as it is stored. Each value is sealed for itself: heads are merged."""
        head = self.mask.fields(head)
        if self.keys is None:
            return head
        parts = [(["context", name], value) for name, value in head["context"].items()]
        parts += [(["metadata", name], value) for name, value in head["metadata"].items() if name not in _METADATA]
        parts += [([name], value) for name, value in head.items() if name not in {*_HEAD, "context", "metadata"}]
        metadata = {name: value for name, value in head["metadata"].items() if name in _METADATA}
        outside = {name: value for name, value in head.items() if name in _HEAD}
        return {**outside, "context": {}, "metadata": metadata, SEALED: self.keys.seal_parts(parts)}

    def read_head(self, head: dict[str, Any]) -> dict[str, Any]:
        """What `write_head` was given, masked; for the errors see `read`."""
        if not sealed_in(head, "head"):
            return head
        opened = {name: value for name, value in head.items() if name != SEALED}
        for path, value in self._need().open_parts(head[SEALED]) if head[SEALED] else ():
            *outer, name = path
            for step in outer:
                opened[step] = dict(opened[step])
            (opened[outer[0]] if outer else opened)[name] = value
        return opened

    def _need(self) -> SessionKeys:
        if self.keys is None:
            raise Sealed(
                "it is encrypted, and there is no master key here: put it into FLYWHEEL_MASTER_KEYS, or name its "
                "file in encryption.keys_file"
            )
        return self.keys


def sealed_in(document: Any, kind: str) -> bool:
    """Whether a stored document, or some of its values, are sealed."""
    if not isinstance(document, dict) or SEALED not in document:
        return False
    sealed = document[SEALED]
    if kind == "head":
        return isinstance(sealed, dict) and all(map(is_sealed, sealed.values()))
    return is_sealed(sealed) and document.keys() <= {SEALED, *_READABLE[kind]}


def keys_in(head: Any) -> set[str]:
    """The ids of the keys with which a stored head, or some of its values, are sealed."""
    return {sealed[:8] for sealed in head[SEALED].values()} if sealed_in(head, "head") else set()


PLAIN = Form(UNMASKED)
"""Neither masks nor seals."""
