"""What flows on servers have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..errors import BadInput, ConfigError, FlowFailed, FlowUnsettled
from ..jsontext import encode
from .base import Answer, Flow, Question
from .http_problems import Call
from .http_server import FlowServer
from .parameters import Form, merged

_NO_CONVERSATION = "flywheel-flows-check"
_TURNS = 8
"""A server has the turns itself. Those that others may have added since we asked it last are enough to see that."""


class ServerFlow(Flow):
    """A flow on a server, which keeps its own side of each conversation, under the session's id there.

    Args:
        server: where it is.
        flow: what the server knows it by.
        stream: whether the answer is read as it is made, where somebody listens.
        parameters: what always goes along; for their form see the kinds of flow. A call's own win.
        options: those of `Flow`, but for ``turns``.

    Raises:
        ConfigError: a parameter is none.
    """

    form: Form
    key_header: ClassVar[tuple[str, str]]
    keeps = True  # whether the server keeps conversations, as far as that is known

    def __init__(
        self,
        id: str,
        server: FlowServer,
        flow: str,
        *,
        stream: bool = False,
        parameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(id, turns=_TURNS, **options)
        self.server = server
        self.flow = flow
        self.stream = stream
        try:
            self._fields = self.form.arranged(parameters or {})
        except ValueError as error:
            raise ConfigError(f"flows.{id}.parameters: {error}") from error
        self._headers = headers(server, self.key_header)

    @abstractmethod
    async def _run(self, question: Question, tell: Teller) -> Answer:
        """Ask the flow once; ``tell`` is to be told what arrives if the answer is read as it is made."""

    @property
    def period(self) -> object | None:
        return self.server.period

    @property
    def last_period(self) -> object | None:
        return self.server.last_period if self.keeps else None

    async def ask(self, question: Question) -> Answer:
        try:
            return await self._run_if_idempotent_twice(question)
        except RecursionError as error:
            raise self.server.problems.too_deep(f"flow {self.id!r}") from error

    async def _run_if_idempotent_twice(self, question: Question) -> Answer:
        tell = Teller(question.on_text)
        try:
            return await self._run(question, tell)
        except FlowUnsettled:
            if not self.idempotent or tell.told:
                raise
            return await self._run(question, tell)

    async def _unreadable(self) -> str:
        """What a check says of a server that does not let us read what it keeps; nothing of one that does."""
        try:
            await self.messages(_NO_CONVERSATION, newest=1)
        except FlowFailed as error:
            return (
                "; but its messages cannot be read, so turns that it loses are not told again, and answers that "
                f"come too late are not read back ({error})"
            )
        return ""

    async def close(self) -> None:
        await self.server.close()

    def asking(self, path: str, *, params: dict[str, str] | None = None) -> Call:
        """A call that asks for something."""
        return Call(f"flow {self.id!r}", path, self._headers, params)

    def running(self, path: str, body: Mapping[str, Any], question: Question) -> Call:
        """A call that runs the flow.

        Raises:
            FlowFailed: it holds what JSON cannot.
        """
        try:
            data = encode(body)
        except (BadInput, TypeError) as error:
            raise FlowFailed(f"flow {self.id!r} was not asked: its parameters cannot be sent: {error}") from error
        return Call(f"flow {self.id!r}", path, self._headers, None, data, runs=True, private=question.text)

    def fields_for(self, question: Question) -> dict[str, Any]:
        """The parameters of a run, as fields of its request.

        Raises:
            FlowFailed: one of them is none; nothing was sent.
        """
        if not question.parameters:
            return self._fields
        try:
            return merged(self._fields, self.form.arranged(question.parameters))
        except ValueError as error:
            raise FlowFailed(f"flow {self.id!r} was not asked: parameters: {error}") from error


class Teller:
    """Tells a listener, if there is one, each piece of an answer, and knows whether there was any."""

    def __init__(self, on_text: Callable[[str], None] | None) -> None:
        self.listens = on_text is not None
        self.told = False
        self._on_text = on_text

    def __call__(self, piece: str) -> None:
        if piece and self._on_text is not None:
            self.told = True
            self._on_text(piece)


def headers(server: FlowServer, key: tuple[str, str]) -> dict[str, str]:
    """What every call to a server carries; ``key`` is the header for its key, and what comes before it there."""
    kinds = "application/json, text/event-stream"
    return {"content-type": "application/json", "accept": kinds, **server.key_as(*key)}
