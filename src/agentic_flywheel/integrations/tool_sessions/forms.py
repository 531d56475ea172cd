"""A kind of state, and the JSON that is stored of it."""

from __future__ import annotations

import typing
from collections.abc import Hashable
from functools import cache
from typing import Any, Protocol

import msgspec
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ...errors import BadInput, Damaged
from ...jsontext import encode
from ...session.values import plain


class _Form(Protocol):
    """A kind of state and its JSON form."""

    def to_plain(self, value: Any) -> Any: ...

    def from_plain(self, value: Any) -> Any: ...

    def schema(self) -> dict[str, Any]: ...


class Codec:
    """Between a kind of state and what is stored of it.

    Raises:
        TypeError: it is no class that a state can be of, or cannot be made without arguments.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.name = getattr(kind, "__name__", None) or str(kind)
        self.key = f"state:{self.name}"
        self._form = _form_of(kind)
        try:
            kind()
        except Exception as error:
            raise TypeError(
                f"State[{self.name}]: {self.name}() does not work; give each field a default, so that a new "
                "session can begin with one"
            ) from error

    def load(self, context: dict[str, Any]) -> Any:
        """The state that a context holds; an empty one if it holds none.

        Raises:
            Damaged: what it holds is no such state.
        """
        if self.key not in context:
            return self._kind()
        try:
            return self._form.from_plain(context[self.key])
        except (ValidationError, msgspec.ValidationError) as error:
            raise Damaged(f"what is stored as {self.key} is no {self.name}: {_faults(error)}") from error

    def dump(self, state: Any) -> Any:
        """The state in JSON types, from which it can be loaded again.

        Raises:
            BadInput: there is no such form; says where.
        """
        try:
            dumped = self._form.to_plain(state)
            self._form.from_plain(dumped)
        except (ValidationError, msgspec.ValidationError) as error:
            raise BadInput(f"the state {self.name} was not saved: {_faults(error)}") from error
        except (TypeError, ValueError) as error:  # a value without a JSON form
            raise BadInput(f"the state {self.name} was not saved: {type(error).__name__}") from error
        return dumped

    def faults_of(self, dumped: Any) -> str | None:
        """Why no state can be loaded from this, by field and without the values; None if one can."""
        try:
            self._form.from_plain(dumped)
        except (ValidationError, msgspec.ValidationError) as error:
            return _faults(error)
        return None

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the state, with the names that its fields are stored under; empty if it has none."""
        try:
            return self._form.schema()
        except (PydanticUserError, TypeError):  # it holds what no schema is known of
            return {}


@cache
def codec_of(kind: Hashable) -> Codec:
    """The codec of a kind of state; for the errors see `Codec`."""
    return Codec(kind)


def as_bytes(dumped: Any, name: str) -> bytes:
    """What a dumped state is stored as; by it two of them are told apart.

    Raises:
        Unstorable: JSON cannot hold it; names the path.
    """
    return encode(plain(dumped, name))


def _form_of(kind: Any) -> _Form:
    if typing.is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return _MsgspecForm(kind)
    return _PydanticForm(kind)


class _PydanticForm:
    def __init__(self, kind: Any) -> None:
        self._adapter = TypeAdapter(kind)

    def to_plain(self, value: Any) -> Any:
        return self._adapter.dump_python(value, mode="json", by_alias=False, round_trip=True, warnings=False)

    def from_plain(self, value: Any) -> Any:
        return self._adapter.validate_json(encode(value), by_alias=True, by_name=True)

    def schema(self) -> dict[str, Any]:
        return self._adapter.json_schema(by_alias=False)


class _MsgspecForm:
    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def to_plain(self, value: Any) -> Any:
        return msgspec.to_builtins(value, str_keys=True)

    def from_plain(self, value: Any) -> Any:
        return self._decoder.decode(encode(value))  # not `convert`: that would share what is typed as Any

    def schema(self) -> dict[str, Any]:
        return msgspec.json.schema(self._kind)


def _faults(error: Exception) -> str:
    """What is wrong, by field; without the values, which are the session's."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['type']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
