"""What every flow does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ..session import Turn, UniversalSession


@dataclass(frozen=True, slots=True)
class Replay:
    """Earlier turns that a flow's server lacks, oldest first, and where they stand among what it has.

    Attributes:
        turns: the turns; there is one at least.
        first: how many of them, from the oldest on, come before all that the server has of the conversation.
        last: how many of them, up to the newest, come after it.
        begun: whether the last that the server has is the question of the first of them, without an answer.
    """

    turns: Sequence[Turn]
    first: int
    last: int
    begun: bool = False

    @classmethod
    def of_all(cls, turns: Sequence[Turn]) -> Self:
        """Turns of a conversation of which the server has nothing."""
        return cls(turns, len(turns), len(turns))

    @property
    def before(self) -> Sequence[Turn]:
        """The turns that come before all that the server has."""
        return self.turns[: self.first]

    @property
    def after(self) -> Sequence[Turn]:
        """The other ones: they come after something that it has."""
        return self.turns[self.first :]

    @property
    def is_the_end(self) -> bool:
        """Whether all of them come after all that the server has, or it has nothing."""
        return self.last == len(self.turns)

    def newest(self, count: int) -> Self:
        """So many of them, the newest ones; at least one."""
        begun = self.begun and count >= len(self.turns)
        gone = len(self.turns) - count
        return type(self)(self.turns[-count:], max(self.first - gone, 0), min(self.last, count), begun)


@dataclass(frozen=True, slots=True)
class Question:
    """What a flow is asked: the text, the conversation so far, and parameters for this one run.

    ``replay`` are earlier turns that the flow's server lacks, and that are told again with the question.
    ``on_text`` is told each piece of the answer as it arrives, where the flow streams.
    """

    text: str
    session: UniversalSession
    parameters: Mapping[str, Any] = field(default_factory=dict)
    replay: Replay | None = None
    on_text: Callable[[str], None] | None = None

    @property
    def conversation(self) -> str:
        """What the flow's server knows the session by."""
        return self.session.backend_session_id or self.session.id


@dataclass(frozen=True, slots=True)
class Answer:
    """What a flow answered: the text for people, and its full output in JSON types."""

    text: str
    output: Any = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the flow's server keeps it; ``timestamp`` as that server writes it, None if it does not.

    ``told`` are earlier turns that were told before a question, in the text that the server keeps of it.
    """

    role: Literal["user", "assistant"]
    text: str
    timestamp: str | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Discovered:
    """A flow that a server has: ``flow`` is its id there, ``name`` what people call it.

    ``also`` are further names by which settings may name it. ``api`` is the setting that it needs, if it needs one.
    """

    flow: str
    name: str
    description: str = ""
    also: frozenset[str] = frozenset()
    api: str | None = None


class Flow(ABC):
    """Answers questions.

    Attributes:
        id: its name in the settings, and in every turn that it answers.
        backend: the kind of server that it runs on.
        description: what it is good for, in a sentence.
        keywords: words for which it is the right one to ask.
        turns: how many of a session's newest turns it wants to see; None for all.
        timeout: seconds until it is given up.
        idempotent: whether it may be run again when nobody knows whether it ran.
        replay_turns: how many of the newest turns are told again if its server lacks them; 0: none.
        replay_bytes: how long these may be together, questions and answers in UTF-8.
        keeps_told: whether its server keeps what it was told again; else it is told with further questions, too.
        execution_ttl: seconds that its executions are kept, 0 for ever; None: as all executions are.
        history_ttl: the same, for its history in a session.
    """

    def __init__(
        self,
        id: str,
        *,
        description: str = "",
        keywords: Sequence[str] = (),
        turns: int | None = 50,
        timeout: float = 120.0,
        idempotent: bool = False,
        replay_turns: int = 20,
        replay_bytes: int = 32 * 1024,
    ) -> None:
        self.id = id
        self.description = description
        self.keywords = tuple(keywords)
        self.turns = turns
        self.timeout = timeout
        self.idempotent = idempotent
        self.replay_turns = replay_turns
        self.replay_bytes = replay_bytes

    backend: str
    keeps_told = True
    execution_ttl: int | None = None
    history_ttl: int | None = None

    @abstractmethod
    async def ask(self, question: Question) -> Answer:
        """The answer to a question. It may read the session, and change its context; not its history.

        Raises:
            FlowFailed: there is none; the message names the flow and says what to do.
            FlowUnsettled: none arrived, and the flow may have run all the same.
        """

    @property
    def period(self) -> object | None:
        """Stands for the time since the flow's server may last have lost something: the same object all the while.

        None: the flow has no server that needs to know a conversation.
        """
        return None

    @property
    def last_period(self) -> object | None:
        """The period in which the server answered last, over by now or not; None if it may keep nothing."""
        return None

    async def messages(
        self, conversation: str, *, newest: int | None = None, since: str | None = None
    ) -> list[Message] | None:
        """What the flow's server has of a conversation, oldest first; None if it keeps nothing, or does not tell.

        Of a long conversation a server may give the newest messages only.

        Args:
            conversation: what the server knows it by.
            newest: so many of the newest messages are enough.
            since: those since this moment are enough, ISO 8601; where there are none, all are wanted.

        Raises:
            KeyRefused: the server does not let us read them.
            FlowFailed: it cannot be asked; says why.
        """
        return None

    async def remind(self, question: Question) -> Question:
        """Tell the flow's server what it lacks, where that goes before the question, and runs nothing.

        Returns the question as it is to be asked then: with the turns that were not told yet.

        Raises:
            FlowFailed: it did not take them; the flow was not asked.
        """
        return question

    async def check(self) -> str:
        """What ``flywheel flows check`` says of a flow that can be asked; asks its server, not the flow.

        Raises:
            FlowFailed: it cannot be asked; says why, and what to do.
        """
        return "runs in this process"

    async def close(self) -> None:  # noqa: B027  # most flows have none
        """Close connections; they open again on the next use."""
