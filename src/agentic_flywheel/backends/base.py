"""What every flow does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..session import UniversalSession


@dataclass(frozen=True, slots=True)
class Question:
    """What a flow is asked: the text, the conversation so far, and parameters for this one run."""

    text: str
    session: UniversalSession
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a flow answered: the text for people, and its full output in JSON types."""

    text: str
    output: Any = None


class Flow(ABC):
    """Answers questions.

    Attributes:
        id: its name in the settings, and in every turn that it answers.
        backend: the kind of server that it runs on.
        description: what it is good for, in a sentence.
        turns: how many of a session's newest turns it wants to see; None for all.
        timeout: seconds until it is given up.
    """

    def __init__(self, id: str, *, description: str = "", turns: int | None = 50, timeout: float = 120.0) -> None:
        self.id = id
        self.description = description
        self.turns = turns
        self.timeout = timeout

    backend: str

    @abstractmethod
    async def ask(self, question: Question) -> Answer:
        """The answer to a question. It may read the session, and change its context; not its history.

        Raises:
            FlowFailed: there is none; the message names the flow and says what to do.
        """
