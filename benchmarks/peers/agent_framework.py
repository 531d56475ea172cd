"""agent-framework-redis: `RedisHistoryProvider`, a list of messages."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..turns import Turn
from .base import Contestant, Conversation, pooled


class AgentFramework(Contestant):
    """One provider for all sessions."""

    def __init__(self, url: str, folder: Path) -> None:
        self.message = import_module("agent_framework").Message
        provider = import_module("agent_framework_redis").RedisHistoryProvider
        self.provider: Any = provider(redis_url=pooled(url), application_id="bench")

    async def start(self) -> None:
        """Connect."""
        await self.provider.get_messages("start")

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """All messages in one call."""
        await AgentFrameworkConversation(self.provider, session_id, self.message).save_together(turns)

    async def open(self, session_id: str) -> Conversation:
        """Nothing is to be opened."""
        return AgentFrameworkConversation(self.provider, session_id, self.message)

    async def close(self) -> None:
        """Close the connections."""
        await self.provider.aclose()


class AgentFrameworkConversation(Conversation):
    """One session of the provider."""

    def __init__(self, provider: Any, session_id: str, message: Any) -> None:
        self.provider, self.session_id, self.message = provider, session_id, message

    async def save(self, turn: Turn) -> None:
        """Save both messages in one call, which reads the whole session first."""
        await self.save_together([turn])

    async def save_together(self, turns: Sequence[Turn]) -> None:
        """Save the messages of some turns in one call."""
        messages = []
        for turn in turns:
            for role, text in (("user", turn.question), ("assistant", turn.response)):
                messages.append(self.message(role=role, contents=[text], message_id=f"{turn.id}-{role}"))
        await self.provider.save_messages(self.session_id, messages)

    async def load_all(self) -> Any:
        """All messages."""
        return await self.provider.get_messages(self.session_id)

    async def load_last(self, count: int) -> Any:
        """All messages, of which the last are kept: the API has no other way."""
        return (await self.load_all())[-2 * count :]

    def answers(self, loaded: Any) -> Sequence[str]:
        """They are parsed already."""
        return [message.text for message in loaded if message.role == "assistant"]
