"""google-adk-community: `RedisSessionService`, one JSON document a session, written anew with each event."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..turns import Turn
from .base import POOL, Contestant, Conversation

_WHO = {"app_name": "bench", "user_id": "bench"}


class GoogleAdk(Contestant):
    """One service for all sessions."""

    def __init__(self, url: str, folder: Path) -> None:
        service = import_module("google.adk_community.sessions").RedisSessionService
        self.service: Any = service(uri=url, max_connections=POOL)

    async def start(self) -> None:
        """Connect."""
        await self.service.cache.ping()

    async def fill(self, session_id: str, turns: Sequence[Turn]) -> None:
        """All events but the last into the session object; appending that one writes the document, once."""
        session = await self.service.create_session(**_WHO, session_id=session_id)
        events = [event for turn in turns for event in _events(turn)]
        session.events.extend(events[:-1])
        await self.service.append_event(session, events[-1])

    async def open(self, session_id: str) -> Conversation:
        """Load the session, which is kept in memory; or create it."""
        found = await self.service.get_session(**_WHO, session_id=session_id)
        return AdkConversation(
            self.service, found or await self.service.create_session(**_WHO, session_id=session_id)
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.service.cache.aclose()


class AdkConversation(Conversation):
    """One session object."""

    def __init__(self, service: Any, session: Any) -> None:
        self.service, self.session = service, session

    async def save(self, turn: Turn) -> None:
        """Two events, two calls: that is how its runner records a turn."""
        for event in _events(turn):
            await self.service.append_event(self.session, event)

    async def load_all(self) -> Any:
        """The whole session."""
        return await self.service.get_session(**_WHO, session_id=self.session.id)

    async def load_last(self, count: int) -> Any:
        """The session with its last events; it is parsed whole for that."""
        config = import_module("google.adk.sessions.base_session_service").GetSessionConfig
        wanted = config(num_recent_events=2 * count)
        return await self.service.get_session(**_WHO, session_id=self.session.id, config=wanted)

    def answers(self, loaded: Any) -> Sequence[str]:
        """They are parsed already."""
        return [event.content.parts[0].text for event in loaded.events if event.author == "agent"]


def _events(turn: Turn) -> list[Any]:
    return [_event("user", "user", turn.question), _event("agent", "model", turn.response)]


def _event(author: str, role: str, text: str) -> Any:
    types = import_module("google.genai.types")
    event = import_module("google.adk.events.event").Event
    return event(author=author, content=types.Content(role=role, parts=[types.Part(text=text)]))
