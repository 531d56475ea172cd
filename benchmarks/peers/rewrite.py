"""The plain way: the whole session is one JSON document in memory, written with SETEX after each turn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis.asyncio

from ..turns import Turn
from .base import Contestant, Conversation, pooled

WEEK = 7 * 24 * 3600


class WholeDocument(Contestant):
    """A session is a JSON document that is written anew with each turn."""

    def __init__(self, url: str, folder: Path) -> None:
        self.client: Any = redis.asyncio.Redis.from_url(pooled(url))

    async def start(self) -> None:
        """Connect."""
        await self.client.ping()

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """One write."""
        document = WholeDocumentConversation(self.client, session_id, [])
        document.history.extend(_fields(turn) for turn in turns[:-1])
        await document.save(turns[-1])

    async def open(self, session_id: str) -> Conversation:
        """Load the document, to be kept in memory."""
        raw = await self.client.get(session_id)
        return WholeDocumentConversation(self.client, session_id, json.loads(raw)["history"] if raw else [])

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


class WholeDocumentConversation(Conversation):
    """One document."""

    def __init__(self, client: Any, key: str, history: list[dict[str, Any]]) -> None:
        self.client, self.key, self.history = client, key, history

    async def save(self, turn: Turn) -> None:
        """Append in memory, write all."""
        self.history.append(_fields(turn))
        await self.client.setex(self.key, WEEK, json.dumps({"id": self.key, "history": self.history}))

    async def load_all(self) -> Any:
        """Read and parse all."""
        return json.loads(await self.client.get(self.key))["history"]

    async def load_last(self, count: int) -> Any:
        """Read and parse all, keep the last: there is no other way."""
        return (await self.load_all())[-count:]

    def answers(self, loaded: Any) -> Sequence[str]:
        """They are parsed already."""
        return [turn["response"] for turn in loaded]


def _fields(turn: Turn) -> dict[str, Any]:
    return {
        "id": turn.id,
        "timestamp": turn.timestamp,
        "question": turn.question,
        "response": turn.response,
        "duration_ms": turn.duration_ms,
    }
