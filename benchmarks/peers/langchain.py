"""LangChain's message histories: `langchain-redis`, which needs Redis modules, and the community's list."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..turns import Turn
from .base import Contestant, Conversation


class LangChainList(Contestant):
    """The community's `RedisChatMessageHistory`: a list. Its asynchronous methods are threads."""

    module = "langchain_community.chat_message_histories"
    url_argument = "url"

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.history = import_module(self.module).RedisChatMessageHistory
        self.messages = import_module("langchain_core.messages")

    async def start(self) -> None:
        """Connect."""
        await self._open("start").aget_messages()

    def _open(self, session_id: str) -> Any:
        return self.history(session_id, **{self.url_argument: self.url})

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """All messages in one call."""
        conversation = LangChainConversation(self._open(session_id), self.messages)
        await conversation.save_together(turns)

    async def open(self, session_id: str) -> Conversation:
        """A history with a connection of its own, which is made now."""
        history = self._open(session_id)
        history.redis_client.ping()
        return LangChainConversation(history, self.messages)

    async def close(self) -> None:
        """The histories' connections end with the process."""


class LangChainRedis(LangChainList):
    """`langchain-redis`: a JSON document for each message and a search index over them."""

    module = "langchain_redis"
    url_argument = "redis_url"


class LangChainConversation(Conversation):
    """One history."""

    def __init__(self, history: Any, messages: Any) -> None:
        self.history, self.messages = history, messages

    async def save(self, turn: Turn) -> None:
        """Add both messages in one call."""
        await self.save_together([turn])

    async def save_together(self, turns: Sequence[Turn]) -> None:
        """Add the messages of some turns in one call."""
        human, answer = self.messages.HumanMessage, self.messages.AIMessage
        pairs = [(human(turn.question), answer(turn.response)) for turn in turns]
        await self.history.aadd_messages([message for pair in pairs for message in pair])

    async def load_all(self) -> Any:
        """All messages."""
        return await self.history.aget_messages()

    async def load_last(self, count: int) -> Any:
        """All messages, of which the last are kept: the API has no other way."""
        return (await self.load_all())[-2 * count :]

    def answers(self, loaded: Any) -> Sequence[str]:
        """They are parsed already."""
        return [message.content for message in loaded if message.type == "ai"]
