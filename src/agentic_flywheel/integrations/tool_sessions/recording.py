"""A tool call as a turn of its session, and as an execution."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ...errors import BadInput
from ...jsontext import encode
from ...secrecy import Mask
from ...session import Execution, InFlight, UniversalSession
from ...session.values import plain
from .outcome import Outcome

LARGEST = 1024**2  # bytes of arguments or of an output that are recorded; larger ones are left out


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records calls; what ``mask`` hides of their arguments is not stored, nor where a result repeats it.

    ``limit`` is the greatest size of arguments, and of an output, in bytes.
    """

    mask: Mask
    limit: int

    def record(self, session: UniversalSession, run: Run, outcome: Outcome) -> Execution:
        """Add a call to its session as a turn, and give its execution."""
        masked = self.mask.of(run.arguments)
        arguments = self._storable(masked.values, "the arguments")
        failed = outcome.status != "completed"
        text = masked.clear_error(outcome.text) if failed else masked.clear(outcome.text)
        output = None if failed else self._storable(masked.clear(outcome.output), "the output")
        duration_ms = run.duration_ms
        question = f"{run.tool} {encode(arguments).decode()}"
        session.record(
            id=run.turn.turn_id,
            timestamp=run.turn.started_at,
            question=question,
            response=text if failed else output,
            flow_id=run.tool,
            duration_ms=duration_ms,
            **({"status": outcome.status} if failed else {}),
        )
        return Execution(
            id=run.turn.turn_id,
            session_id=session.id,
            flow_id=run.tool,
            backend=session.backend,
            status=outcome.status,
            question=question,
            parameters=arguments,
            output=output,
            text=output if isinstance(output, str) else "",
            error=text if failed else None,
            started_at=run.turn.started_at,
            duration_ms=duration_ms,
        )

    def _storable(self, value: Any, what: str) -> Any:
        """The value, if it can be stored; else why not: a record must not keep state from being saved."""
        try:
            size = len(encode(plain(value, what)))
        except BadInput as error:
            return {"not_stored": str(error)}
        return value if size <= self.limit else {"not_stored": f"{what} had {size:,} bytes"}


@dataclass(slots=True)
class Run:
    """A run of a tool: with which arguments, and as which turn."""

    tool: str
    arguments: dict[str, Any]
    turn: InFlight
    _begun: float = 0.0

    def starts(self) -> None:
        """Count the time from now on: what a call waited for others is not the tool's."""
        self._begun = time.perf_counter()

    @property
    def duration_ms(self) -> int:
        """How long it has run, in milliseconds."""
        return round((time.perf_counter() - self._begun) * 1000)
