"""Parameters of a flow, from the settings and from a call, as the fields of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Form:
    """How a server wants parameters.

    Attributes:
        entries: the field that holds the parameters of the flow's parts.
        fields: further fields that parameters may be.
        ours: names that stand for the conversation, the question or the way that they are sent.
        problem: what is wrong with fields, if something is.
    """

    entries: str
    fields: frozenset[str]
    ours: frozenset[str]
    problem: Callable[[Mapping[str, Any]], str | None] = lambda fields: None

    def arranged(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters as fields of a request: each one that is not called like a field is an entry.

        Raises:
            ValueError: one cannot be a parameter; says which.
        """
        entries = parameters.get(self.entries, {})
        if not isinstance(entries, Mapping):
            raise ValueError(f"{self.entries} is {type(entries).__name__}, not an object")
        fields = {name: value for name, value in parameters.items() if name in self.fields}
        rest = {name: value for name, value in parameters.items() if name not in self.fields | {self.entries}}
        entries = merged(entries, rest)
        if taken := self.ours & entries.keys():
            raise ValueError(f"{min(taken)} is no parameter: the session and the question say it; leave it out")
        if entries:
            fields[self.entries] = entries
        if problem := self.problem(fields):
            raise ValueError(problem)
        return fields


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both objects in one, and so for the objects in them; elsewhere the other one wins."""
    result = dict(one)
    for name, value in other.items():
        ours = result.get(name)
        both = isinstance(ours, Mapping) and isinstance(value, Mapping)
        result[name] = merged(ours, value) if both else value  # type: ignore[arg-type]  # both are objects
    return result
