"""langgraph-checkpoint-redis: `AsyncRedisSaver`; it needs the modules RedisJSON and RediSearch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..turns import Turn
from .base import Contestant, Conversation, as_messages


class LangGraph(Contestant):
    """One saver for all threads. A checkpoint holds the whole list of messages, as a graph's state does."""

    def __init__(self, url: str, folder: Path) -> None:
        self.saver: Any = import_module("langgraph.checkpoint.redis.aio").AsyncRedisSaver(redis_url=url)

    async def start(self) -> None:
        """Make the search indexes."""
        await self.saver.asetup()

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """One checkpoint."""
        conversation = LangGraphConversation(self.saver, session_id, [])
        conversation.messages.extend(as_messages(turn) for turn in turns[:-1])
        await conversation.save(turns[-1])

    async def open(self, session_id: str) -> Conversation:
        """Load the newest checkpoint."""
        conversation = LangGraphConversation(self.saver, session_id, [])
        conversation.messages = list(await conversation.load_all())
        return conversation

    async def close(self) -> None:
        """The saver's connections end with the process."""


class LangGraphConversation(Conversation):
    """One thread."""

    def __init__(self, saver: Any, thread: str, messages: list[Any]) -> None:
        self.saver, self.messages = saver, messages
        self.config = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        self.version = 0

    async def save(self, turn: Turn) -> None:
        """Put a checkpoint with all messages, as each step of a graph does."""
        self.messages.append(as_messages(turn))
        self.version += 1
        versions = {"messages": self.version}
        checkpoint = {
            "v": 4,
            "id": str(uuid4()),
            "ts": turn.timestamp,
            "channel_values": {"messages": self.messages},
            "channel_versions": versions,
            "versions_seen": {},
        }
        await self.saver.aput(self.config, checkpoint, {"source": "loop", "step": self.version}, versions)

    async def load_all(self) -> Any:
        """The newest checkpoint's messages."""
        found = await self.saver.aget_tuple(self.config)
        return found.checkpoint["channel_values"]["messages"] if found else []

    async def load_last(self, count: int) -> Any:
        """The newest checkpoint, of which the last turns are kept."""
        return (await self.load_all())[-count:]

    def answers(self, loaded: Any) -> Sequence[str]:
        """They are parsed already."""
        return [messages[1]["content"] for messages in loaded]
