"""A turn that is being run: on record before its flow starts, so that a crash does not hide it."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

from .ids import new_id
from .times import now, seconds


@cache
def this_place() -> str:
    """Where a process id means something: this machine since it was started, and its process namespace."""
    parts = [platform.node()]
    with suppress(OSError):  # Linux only; elsewhere the name of the machine has to do
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


@dataclass(frozen=True, slots=True)
class InFlight:
    """A question that a flow is answering.

    ``started_at`` is ISO 8601 in UTC; ``place`` and ``pid`` say which process asks, and ``holder`` tells this
    attempt at the turn from another one.
    """

    turn_id: str
    question: Any
    flow_id: str
    started_at: str = field(default_factory=now)
    place: str = field(default_factory=this_place)
    pid: int = field(default_factory=os.getpid)
    holder: str = field(default_factory=lambda: new_id("claim"))

    def to_dict(self) -> dict[str, Any]:
        """The note in JSON types."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The note of `to_dict`; raises TypeError where it is none."""
        return cls(**{name: values.get(name) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]

    @property
    def is_orphaned(self) -> bool:
        """Whether the process that asks is known to be dead; only processes of this machine can be known."""
        if self.place != this_place():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def lasted(self, until: float) -> float:
        """Seconds from its start until a moment, in seconds since 1970; at least 0."""
        return max(until - seconds(self.started_at), 0.0)
