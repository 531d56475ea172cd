"""A flow whose server keeps the conversations: what it keeps outlives flywheels, and can be lost."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from agentic_flywheel.backends import Answer, Flow, Message, Question
from agentic_flywheel.errors import FlowUnsettled
from agentic_flywheel.session import now


class FlowServer:
    """What a flow's server has of its conversations, what it was asked, and how often it told all that it has."""

    def __init__(self) -> None:
        self.kept: defaultdict[str, list[Message]] = defaultdict(list)
        self.questions: list[Question] = []
        self.times_told = 0
        self.period = object()

    def lose(self) -> None:
        """As when it is started again with an empty database."""
        self.kept.clear()
        self.period = object()

    def answer(self, conversation: str, question: str) -> str:
        """Answer a question, and keep both."""
        kept = self.kept[conversation]
        answer = f"answer {len(kept) // 2 + 1} to {question}"
        kept += [Message("user", question, now()), Message("assistant", answer, now())]
        return answer


class RememberingFlow(Flow):
    """A flow on such a server.

    Of a question that begins with ``lose`` the answer is lost on its way, of one with ``late`` it has not come
    yet, and ``hang`` is not answered within the flow's time.
    """

    backend = "remembering"

    def __init__(self, id: str, server: FlowServer, **options: Any) -> None:
        super().__init__(id, **options)
        self.server = server

    async def ask(self, question: Question) -> Answer:
        self.server.questions.append(question)
        if question.text.startswith("late"):
            raise FlowUnsettled(f"flow {self.id!r}: the connection broke before an answer came")
        answer = self.server.answer(question.conversation, question.text)
        if question.text.startswith("lose"):
            raise FlowUnsettled(f"flow {self.id!r}: the connection broke before an answer came")
        if question.text.startswith("hang"):
            await asyncio.Event().wait()
        return Answer(answer, {"text": answer})

    @property
    def period(self) -> object:
        return self.server.period

    @property
    def last_period(self) -> object:
        return self.server.period

    async def messages(
        self, conversation: str, *, newest: int | None = None, since: str | None = None
    ) -> list[Message] | None:
        self.server.times_told += newest is None
        return list(self.server.kept[conversation])
