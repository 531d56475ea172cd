"""A conversation and the JSON document that it is kept as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from ..errors import BadInput, Newer
from ..jsontext import decode, encode
from .history import History
from .ids import check_session_id, new_id
from .times import now
from .turn import Turn
from .values import plain_fields, rich_fields

SCHEMA = 1
"""The schema that this version writes, and the newest that it reads."""

LONGEST_TTL = 100 * 365 * 24 * 3600  # seconds; Redis would take no more than 9,223,372,036,854,775


@dataclass(kw_only=True)
class UniversalSession:
    """One conversation with flows: who answers it, what it is about, and every turn of it.

    Only ``backend`` (``"flowise"``, ``"langflow"``, ``"custom"`` or any other word) has no default.

    Attributes:
        id: the handle; opaque, with 128 bits of randomness unless one is given.
        backend: the kind of flow server that the conversation runs on.
        backend_session_id: the session's id on that server.
        status: ``"active"`` by default; any word is kept.
        current_flow_id: the flow that the next question goes to.
        context: what the conversation knows, by key; see `agentic_flywheel.session.values` for what it
            may hold.
        history: the turns, oldest first.
        metadata: ``created_at``, ``last_active``, and what else is to be noted.
        extra: top-level fields of the stored document that this version does not know; they are kept.
    """

    backend: str
    id: str = field(default_factory=lambda: new_id("session"))
    backend_session_id: str | None = None
    status: str = "active"
    current_flow_id: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    metadata: dict[str, Any] = field(default_factory=lambda: _born(now()))
    extra: dict[str, Any] = field(default_factory=dict)
    origin: Any = field(default=None, init=False, repr=False, compare=False)
    """What a session manager remembers of the last load or save; not part of the document, nor of copies."""

    def __post_init__(self) -> None:
        check_session_id(self.id)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "history": self.history.copy(), "origin": None}

    def record(
        self,
        *,
        question: Any,
        response: Any,
        flow_id: str | None = None,
        duration_ms: int | None = None,
        id: str | None = None,
        timestamp: str | None = None,
        **fields: Any,
    ) -> Turn:
        """Add a turn to the history, move ``last_active``, and return the turn.

        Args:
            question: what was asked.
            response: what was answered.
            flow_id: who answered; ``current_flow_id`` if not given.
            duration_ms: how long it took, in milliseconds.
            id: the turn's own id; a new one if not given.
            timestamp: when it was asked, ISO 8601; now if not given.
            fields: further fields of the turn.
        """
        moment = now()
        turn = Turn(
            id=id or new_id("turn"),
            timestamp=timestamp or moment,
            question=question,
            flow_id=flow_id or self.current_flow_id,
            response=response,
            duration_ms=duration_ms,
            **fields,
        )
        self.history.append(turn)
        self.metadata["last_active"] = moment
        return turn

    @property
    def ttl_seconds(self) -> int | None:
        """How long this session is kept after its last use: seconds, 0 for ever, None for the default.

        It is kept in ``metadata["ttl_seconds"]``, so that it travels with the document.
        """
        value = self.metadata.get("ttl_seconds")
        return value if type(value) is int and 0 <= value <= LONGEST_TTL else None

    @ttl_seconds.setter
    def ttl_seconds(self, value: int | None) -> None:
        if value is None:
            self.metadata.pop("ttl_seconds", None)
        elif type(value) is not int or not 0 <= value <= LONGEST_TTL:
            raise BadInput(
                f"ttl_seconds is {value!r}; it is a whole number of seconds up to {LONGEST_TTL} (100 years), 0 to "
                "keep the session for ever"
            )
        else:
            self.metadata["ttl_seconds"] = value

    def head(self) -> dict[str, Any]:
        """Everything but the history, in JSON types, with the schema number.

        Raises:
            Unstorable: a value has no JSON form; names the path (``context.user.socket``).
            BadInput: a published field is of a wrong type, or ``extra`` names one; says which.
        """
        if not _RESERVED.isdisjoint(self.extra):
            taken = min(_RESERVED & self.extra.keys())
            raise BadInput(f"extra.{taken}: this field has a place of its own; give it another name")
        _check_kinds(self.__dict__)
        head: dict[str, Any] = {"schema": SCHEMA}
        for name in _HEAD_FIELDS:
            value = self.__dict__[name]
            head[name] = plain_fields(value, name) if name in _FREE else value
        return head | plain_fields(self.extra, "") if self.extra else head

    @classmethod
    def of_head(cls, head: Mapping[str, Any], history: History) -> Self:
        """The session of a head that `head` made, or that somebody else wrote, and its history.

        Raises:
            Newer: its schema is newer than this version knows.
            BadInput: a published field is missing or of a wrong type; names it.
        """
        values = dict(_upgrade(head))
        values.pop("schema", None)
        _check_kinds(values)
        if "backend" not in values:
            raise BadInput("backend: is missing; it is the one field without a default")
        known = {name: values.pop(name) for name in _HEAD_FIELDS if name in values}
        known |= {name: rich_fields(known[name]) for name in _FREE if name in known}
        return cls(**known, history=history, extra=rich_fields(values))

    def to_dict(self) -> dict[str, Any]:
        """The whole document in JSON types: the published fields, ``schema``, and what came in ``extra``."""
        head = self.head()
        turns = [plain_fields(turn, f"history[{place}]") for place, turn in enumerate(self.history)]
        metadata = head.pop("metadata")
        return head | {"history": turns, "metadata": metadata}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The session of a document in JSON types, whoever wrote it.

        Raises:
            Newer: its schema is newer than this version knows.
            BadInput: a published field is missing or of a wrong type; names it.
        """
        head = {name: value for name, value in document.items() if name not in ("history", *BOOKKEEPING)}
        return cls.of_head(head, History(rich_fields(turn) for turn in turns_of(document)))

    def to_json(self) -> str:
        """The document as JSON text."""
        return encode(self.to_dict()).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The session of a JSON text; see `from_dict` for the errors. Text that is no JSON is a BadInput."""
        try:
            document = decode(text)
        except ValueError as error:
            raise BadInput(f"not a session document: {error}") from error
        if not isinstance(document, dict):
            raise BadInput(f"not a session document: {type(document).__name__}, not an object")
        return cls.from_dict(document)


def _history_of(session: UniversalSession) -> History:
    history: History = session.__dict__["history"]
    return history


def _set_history(session: UniversalSession, turns: Any) -> None:
    if turns is not session.__dict__.get("history"):
        session.__dict__["history"] = _own(turns)


if not TYPE_CHECKING:  # it is declared above; a session gets a history of its own where one is assigned
    UniversalSession.history = property(_history_of, _set_history)


def turns_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The history of a document in JSON types.

    Raises:
        BadInput: it is no list of objects.
    """
    turns = document.get("history")
    if turns is None:
        return []
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise BadInput("history: is not a list of objects")
    return turns


def _own(turns: Any) -> History:
    """A history for one session alone: another one's is copied, as a list would be that both must not share."""
    history = turns if isinstance(turns, History) else History(turns)
    if history.owned:
        history = history.copy()
    history.owned = True
    return history


def _check_kinds(values: Mapping[str, Any]) -> None:
    for name, kinds in _KINDS.items():
        if name in values and type(values[name]) not in kinds:
            expected = " or ".join(kind.__name__ for kind in kinds).replace("NoneType", "None")
            raise BadInput(f"{name}: is {type(values[name]).__name__}, not {expected}")


def _born(moment: str) -> dict[str, Any]:
    return {"created_at": moment, "last_active": moment}


def _upgrade(head: Mapping[str, Any]) -> Mapping[str, Any]:
    """The head in the schema of this version; a document without a number is of schema 0."""
    schema = head.get("schema", 0)
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 0:
        raise BadInput(f"schema: {schema!r} is not a schema number")
    if schema > SCHEMA:
        raise Newer(
            f"the document has schema {schema}; this version of agentic-flywheel reads up to {SCHEMA}: upgrade it"
        )
    for step in _UPGRADES[schema:]:
        head = step(head)
    return head


def _from_schema_0(head: Mapping[str, Any]) -> Mapping[str, Any]:
    """Documents without a number may say null where schema 1 has a default."""
    return {name: value for name, value in head.items() if value is not None or name not in _KINDS}


_UPGRADES = [_from_schema_0]
"""Append only: the step at place n takes a head from schema n to n + 1."""

BOOKKEEPING = ("revision", "layout")
"""Top-level fields that the Redis layout adds; they belong to the store, not to the session."""

_HEAD_FIELDS = tuple(f.name for f in fields(UniversalSession) if f.name not in ("history", "extra", "origin"))
_RESERVED = frozenset({*_HEAD_FIELDS, "schema", "history", *BOOKKEEPING})
_FREE = ("context", "metadata")  # what they hold is the caller's
_KINDS: dict[str, tuple[type, ...]] = {
    "backend": (str,),
    "id": (str,),
    "backend_session_id": (str, type(None)),
    "status": (str,),
    "current_flow_id": (str, type(None)),
    "context": (dict,),
    "metadata": (dict,),
}
