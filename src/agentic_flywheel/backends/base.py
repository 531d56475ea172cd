"""What every flow does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..session import Turn, UniversalSession


@dataclass(frozen=True, slots=True)
class Question:
    """What a flow is asked: the text, the conversation so far, and parameters for this one run.

    ``replay`` are earlier turns, oldest first, that the flow's server has lost and that go along with the
    question. ``on_text`` is told each piece of the answer as it arrives, where the flow streams.
    """

    text: str
    session: UniversalSession
    parameters: Mapping[str, Any] = field(default_factory=dict)
    replay: Sequence[Turn] = ()
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
    """A message as the flow's server keeps it; ``timestamp`` as that server writes it, None if it does not."""

    role: Literal["user", "assistant"]
    text: str
    timestamp: str | None = None


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
        replay_turns: how many of the newest turns go along when its server has lost the conversation; 0: none.
        replay_bytes: how long these may be together, questions and answers in UTF-8.
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
    execution_ttl: int | None = None
    history_ttl: int | None = None

    @abstractmethod
    async def ask(self, question: Question) -> Answer:
        """The answer to a question. It may read the session, and change its context; not its history.

        Raises:
            FlowFailed: there is none; the message names the flow and says what to do.
            FlowUnsettled: none arrived, and the flow may have run all the same.
        """

    async def has_forgotten(self, conversation: str) -> bool:
        """Whether the flow's server has lost its side of a conversation that has turns.

        A server that keeps nothing has lost it always; a flow that needs no server to know a conversation, never.

        It asks the server only where it may have been restarted or replaced since it last answered in this
        conversation. A server that cannot be asked has not forgotten.
        """
        return False

    async def messages(self, conversation: str) -> list[Message] | None:
        """What the flow's server has of a conversation, oldest first; None if it keeps nothing, or does not tell.

        Raises:
            FlowFailed: it cannot be asked; says why.
        """
        return None

    async def check(self) -> str:
        """What ``flywheel flows check`` says of a flow that can be asked; asks its server, not the flow.

        Raises:
            FlowFailed: it cannot be asked; says why, and what to do.
        """
        return "runs in this process"

    async def close(self) -> None:  # noqa: B027  # most flows have none
        """Close connections; they open again on the next use."""
