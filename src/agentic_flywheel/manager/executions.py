"""Executions of flows, and the histories of flows that they make up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..codec import decode_entries, decode_execution, encode_execution, session_of
from ..config import TimesToLive
from ..session import Execution, Turn, UniversalSession
from ..stores import Record, Store
from .forms import Forms


class Executions:
    """Reads and writes executions in a store, in the form that their session has.

    Calls raise `StoreError` where the store cannot be reached, or what is stored is damaged.
    """

    def __init__(self, own: Store, forms: Forms) -> None:
        self._own = own
        self._forms = forms

    async def of_turns(
        self, session: UniversalSession, turns: Iterable[Turn], given: Iterable[Execution], ttl: TimesToLive
    ) -> list[Record]:
        """What is stored beside new turns that name a flow: their executions, or ``given`` ones of the same ids."""
        executions = {execution.id: execution for execution in given}
        for turn in turns:
            if isinstance(turn.id, str) and isinstance(turn.flow_id, str) and turn.id not in executions:
                executions[turn.id] = Execution.of_turn(turn, session.id, session.backend)
        return [record for execution in executions.values() for record in await self._records(execution, ttl)]

    async def _records(self, execution: Execution, ttl: TimesToLive) -> list[Record]:
        form = await self._forms.to_write(execution.session_id or execution.id)
        return encode_execution(execution, form, ttl=ttl.execution, history_ttl=ttl.history)

    async def put(self, execution: Execution, ttl: TimesToLive) -> bool:
        """Store one, and its entry in the history of its flow; False where it waits in the journal."""
        return await self._own.put(await self._records(execution, ttl))

    async def get(self, execution_id: str) -> Execution | None:
        """An execution by its id."""
        data = await self._own.execution(execution_id)
        if data is None:
            return None
        form = await self._forms.to_read(session_of(data) or execution_id, "execution", data)
        return decode_execution(data, form)

    async def history(self, session_id: str, flow_id: str) -> list[dict[str, Any]]:
        """The entries of a flow in a session, oldest first."""
        entries = await self._own.entries(session_id, flow_id)
        form = await self._forms.to_read(session_id, "entry", *entries)
        return decode_entries(entries, form)
