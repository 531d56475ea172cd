"""Conversations with flows that go on where they were."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from ..backends import FlowRegistry
from ..config import Settings
from ..errors import SessionNotFound
from ..manager import Found, SessionManager
from ..session import UniversalSession, check_session_id
from ..wiring import open_flows, open_manager
from .asking import Asker, Reply, Request
from .once import Gate, execution_of
from .open_question import OpenQuestions
from .packet import LAST, TOKENS, Form, Packet, pack, turns_within
from .records import Records
from .rehydration import Rehydrator
from .resumed import Resumed
from .server_side import ServerSide
from .settling import Settler, has_unsettled


class Flywheel:
    """Conversations with flows that go on where they were; ``sessions`` and ``flows`` are what it works with.

    ::

        async with Flywheel.from_config() as fw:
            reply = await fw.ask("What is creative orientation?", session_id=handle, flow="csv2507")
    """

    def __init__(self, sessions: SessionManager, flows: FlowRegistry) -> None:
        self.sessions = sessions
        self.flows = flows
        records = Records(sessions, flows)
        servers = ServerSide(sessions.mask)
        self._settler = Settler(sessions, flows, records, servers)
        self._open = OpenQuestions(sessions, records)
        self._gate = Gate(sessions, records, self._settler)
        rehydrator = Rehydrator(sessions, servers)
        self._asker = Asker(sessions, flows, records, self._settler, self._open, self._gate, rehydrator)

    @classmethod
    def from_config(cls, path: Path | str | None = None) -> Self:
        """The flywheel that the settings describe (see `agentic_flywheel.config`); nothing is opened yet.

        Raises:
            ConfigError: a setting is wrong; says which.
            MissingExtra: a setting needs a package that is not installed.
        """
        return cls.from_settings(Settings.load(path))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The flywheel of these settings; for the errors see `from_config`."""
        return cls(open_manager(settings), open_flows(settings))

    async def __aenter__(self) -> Self:
        await self.sessions.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.sessions.close)
            stack.push_async_callback(self.flows.close)

    async def ask(
        self,
        question: str,
        *,
        session_id: str | None = None,
        flow: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        request_key: str | None = None,
        on_asked: Callable[[str], None] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Ask a flow, and record the turn and its execution.

        The turn is on record as running before the flow starts. Turns of one session are run one after
        another. A question that is asked again while it is still running, or with the ``request_key`` of an
        earlier one in the same session, is not run again: it gets the answer of the first.

        Before it is run, earlier turns whose answers did not arrive are looked for at their flow's server, and
        recorded if they are there. Of the newest turns, those that the flow's server lacks are told again with the
        question.

        Args:
            question: what to ask.
            session_id: the conversation to go on with; a new one if not given.
            flow: who is asked; the session's current flow if not given, else the default.
            parameters: for this run of the flow.
            request_key: names this request, so that it may be sent again without being run again.
            on_asked: told the id of the flow when it is asked; not of a question that is not run again.
            on_text: told each piece of the answer as it arrives, where the flow streams; what it raises is logged.

        Raises:
            SessionNotFound, BadSessionId, Damaged, Newer, Sealed: there is no such session to go on with.
            StoreError: a new one could not be begun; says why.
            UnknownFlow: no flow of this name is configured; in a session that there is, that is on record, too.
            FlowFailed: the flow did not answer; that is on record, and the session still works.
            FlowUnsettled: no answer arrived, and the flow may have run; see above.
        """
        request = Request(question, flow, parameters or {}, request_key, on_asked, on_text)
        if session_id is None:
            return await self._asker.begin(request)
        return await self._asker.go_on(check_session_id(session_id), request)

    async def packet(
        self,
        session_id: str | None = None,
        *,
        tokens: int = TOKENS,
        last: int = LAST,
        forms: Collection[Form] = ("json", "text"),
        more: str = "a larger budget of tokens",
    ) -> Packet:
        """What a model needs to go on with a session, in so many tokens at most.

        Only the newest turns are loaded, so that it costs the same at any length of the session.

        Args:
            session_id: the session; the one used last if not given.
            tokens: what the packet may cost (estimated; see `agentic_flywheel.flywheel.packet.tokens`).
            last: how many turns it holds word for word at most.
            forms: how it will be sent: as `Packet.to_dict`, as `Packet.to_text`, or as both, each of which then
                keeps to the budget by itself.
            more: what the packet says about where the rest is.

        Raises:
            SessionNotFound, BadSessionId, Damaged, Newer, Sealed, Unavailable: no such session to go on with.
            BadInput: the session's handle alone takes more tokens, and it says how many; or ``last`` is negative.
        """
        resumed = await self.resume(session_id, last=turns_within(tokens))
        return pack(resumed, tokens=tokens, last=last, forms=forms, more=more)

    async def resume(self, session_id: str | None = None, *, last: int | None = None) -> Resumed:
        """A session to go on with (the one used last if not given), and what its user should know.

        Answers that did not arrive in time are looked for before, as `ask` does.

        Raises:
            SessionNotFound, BadSessionId, Damaged, Newer, Sealed, Unavailable: no such session to go on with.
        """
        if session_id is None:
            session_id = await self._used_last()
        loaded = await self.sessions.load(session_id, last=last)
        session = loaded.need()
        found = await self._gate.found(session_id)
        if await self._settled(session, found):
            loaded = await self.sessions.load(session_id, last=last)
            session, found = loaded.need(), await self._gate.found(session_id)
        interrupted = found.interrupted if found is not None else None
        if found is None:  # nor is one being run that may answer it
            interrupted = await self._open.of(session)
        return Resumed(session, loaded.behind, interrupted)

    async def _used_last(self) -> str:
        for summary in await self.sessions.list_sessions(limit=10):  # more than one: damaged ones are left out
            return summary.id
        raise SessionNotFound("there is no session yet")

    async def _settled(self, session: UniversalSession, found: Found | None) -> bool:
        """Whether turns of a session that nobody runs now turned out to be answered."""
        if found is not None and found.running:
            return False
        interrupted = found.interrupted if found is not None else None
        if interrupted is not None:
            return await self._settler.settle(session.id, [execution_of(session.id, interrupted)])
        return has_unsettled(session) and await self._settler.settle(session.id)
