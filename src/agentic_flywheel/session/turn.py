"""One exchange in a session's history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MUTABLE = (dict, list)


class Turn(dict[str, Any]):
    """One exchange: a dict of JSON fields, whose published ones can be read as attributes too.

    ``turn["question"]`` and ``turn.question`` are the same; a field that is not there reads as None. Turns
    that others wrote (``{"role": …, "content": …}``) are turns like any other.

    A turn that stands in a `History` tells it when one of its fields is set or removed, so that the next
    save writes it again. It may stand in several.
    """

    __slots__ = ("_watchers",)
    _watchers: tuple[Callable[[], None], ...]

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self._watchers = ()

    @property
    def id(self) -> str | None:
        """Identifies the turn; it is also the id of its execution."""
        return self.get("id")

    @property
    def timestamp(self) -> str | None:
        """When the question was asked, ISO 8601 in UTC."""
        return self.get("timestamp")

    @property
    def question(self) -> Any:
        """What was asked."""
        return self.get("question")

    @property
    def flow_id(self) -> str | None:
        """The flow that answered."""
        return self.get("flow_id")

    @property
    def response(self) -> Any:
        """What was answered."""
        return self.get("response")

    @property
    def duration_ms(self) -> int | None:
        """How long the answer took, in milliseconds."""
        return self.get("duration_ms")

    @property
    def is_flat(self) -> bool:
        """Whether no value can be changed without the turn noticing (no dict or list inside)."""
        for value in self.values():  # noqa: SIM110  # `any` takes three times as long, at each save
            if isinstance(value, _MUTABLE):
                return False
        return True

    def watched_by(self, tell: Callable[[], None]) -> Turn:
        """The turn itself; from now on it calls ``tell`` before each change of a field."""
        if tell not in self._watchers:
            self._watchers += (tell,)
        return self

    def _changing(self) -> None:
        for tell in self._watchers:
            tell()

    def __setitem__(self, key: str, value: Any) -> None:
        self._changing()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._changing()
        super().__delitem__(key)

    def __ior__(self, other: Any) -> Turn:  # type: ignore[override,misc]  # dict's overloads name dict
        self._changing()
        super().__ior__(other)
        return self

    def update(self, *args: Any, **fields: Any) -> None:
        """As `dict.update`."""
        self._changing()
        super().update(*args, **fields)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As `dict.setdefault`."""
        self._changing()
        return super().setdefault(key, default)

    def pop(self, *args: Any) -> Any:
        """As `dict.pop`."""
        self._changing()
        return super().pop(*args)

    def popitem(self) -> tuple[str, Any]:
        """As `dict.popitem`."""
        self._changing()
        return super().popitem()

    def clear(self) -> None:
        """As `dict.clear`."""
        self._changing()
        super().clear()

    def __reduce__(self) -> tuple[type[Turn], tuple[dict[str, Any]]]:
        return Turn, (dict(self),)
