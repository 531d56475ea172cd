"""What a Langflow server has of conversations: its messages, read and added."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from ..jsontext import encode
from .base import Message, Replay
from .earlier import asked, messages_of
from .events import Event
from .http_problems import Call, no_flows
from .shapes import as_list, as_object

if TYPE_CHECKING:
    from .http_server import FlowServer
    from .server_flow import ServerFlow

NEWEST = 200  # messages; Langflow gives no more at once
_ROLES: dict[str, Literal["user", "assistant"]] = {"User": "user", "Machine": "assistant"}
WORKFLOWS = "/api/v2/workflows"
FLOWS = "/api/v1/flows/"
HEADERS_ONLY = {"header_flows": "true", "remove_example_flows": "true"}


class LangflowMemory:
    """The messages of one flow's conversations. ``lfx serve`` speaks like Langflow, and keeps none."""

    def __init__(self, flow: ServerFlow) -> None:
        self._flow = flow
        self._id: tuple[object, str] | None = None

    async def flow_id(self) -> str:
        """The flow's id at the server, also where the settings have its name.

        Raises:
            FlowFailed: there is no such flow, or the server cannot be asked.
        """
        name, server = self._flow.flow, self._flow.server
        if is_uuid(name):
            return name
        if self._id is None or self._id[0] is not server.period:
            call = self._flow.asking(FLOWS, params=HEADERS_ONLY)
            found = next((each for each in await flows(server, call) if name in names_of(each)), None)
            if found is None:
                raise server.problems.refused(call, 404, "", b"")
            self._id = server.last_period, str(found.get("id"))
        return self._id[1]

    async def newest(self, conversation: str, count: int | None = None) -> list[Message] | None:
        """The newest messages of a conversation, oldest first; None if the server keeps none of any.

        There are `NEWEST` at most, or so many if that is fewer.

        Raises:
            FlowFailed: the server cannot be asked.
        """
        stored = await self._stored(conversation, min(count or NEWEST, NEWEST))
        return None if stored is None else [message for each in stored if (message := _message(each)) is not None]

    async def _stored(self, conversation: str, limit: int) -> list[dict[str, Any]] | None:
        params = {
            "flow_id": await self.flow_id(),
            "session_id": conversation.replace("%", "%25"),  # Langflow decodes it twice
            "order": "ASC",
            "limit": str(limit),
        }
        call = self._flow.asking("/api/v1/monitor/messages", params=params)
        stored = await self._flow.server.fetch(call, missing=True)
        return None if stored is None else [each for each in as_list(stored) if isinstance(each, dict)]

    async def add(self, replay: Replay, conversation: str) -> int:
        """Add earlier turns as messages; how many of them are kept now, 0 if the server, or the flow, takes none.

        There is no call for that. Instead the flow is run up to its Chat Input, which keeps what it is given.

        Raises:
            FlowFailed: the server cannot be asked, or broke off; some may have been added.
        """
        flow_id = await self.flow_id()
        call = self._flow.asking(FLOWS + flow_id)
        entry = _chat_input(await self._flow.server.fetch(call, missing=True))
        if entry is None:
            return 0
        there = int(replay.begun)  # of the next turn's messages
        for number, turn in enumerate(replay.turns):
            for message in messages_of([turn])[there:]:
                body = {"flow_id": flow_id, "session_id": conversation, **_for_entry(entry, message)}
                call = replace(self._flow.asking(WORKFLOWS), body=encode(body), private=message.text)
                if not await self._keeps(call):
                    return number
            there = 0
        return len(replay.turns)

    async def _keeps(self, call: Call) -> bool:
        kept = False

        def take(event: Event) -> None:
            nonlocal kept
            kept = kept or event.get("event") == "add_message"

        async with self._flow.server.open(call, missing=True) as reply:
            if reply.status == 404:  # a Langflow that does not know this call yet
                await reply.json()
            else:
                await reply.events(take)
        return kept


async def flows(server: FlowServer, call: Call) -> list[dict[str, Any]]:
    """The flows of a Langflow server, or of ``lfx serve``; ``call`` asks the former for them.

    Raises:
        FlowFailed: it cannot be asked; says why.
    """
    found = await server.fetch(call, missing=True)
    if found is None:
        found = await server.fetch(replace(call, path="/flows", params=None))
    if not isinstance(found, list):
        raise no_flows(server.name, server.url)
    return [each for each in found if isinstance(each, dict) and not each.get("is_component")]


def is_uuid(name: str) -> bool:
    """Whether it is an id that Langflow gives."""
    try:
        return str(UUID(name)) == name.lower()
    except ValueError:
        return False


def names_of(flow: dict[str, Any]) -> frozenset[str]:
    """The names by which settings may name a flow, beside its id."""
    names = (flow.get(name) for name in ("endpoint_name", "name", "title", "relative_path"))
    return frozenset(str(name) for name in names if name)


def _chat_input(flow: Any) -> str | None:
    """The component of a flow that keeps the messages of users."""
    nodes = [as_object(node) for node in as_list(as_object(as_object(flow).get("data")).get("nodes"))]
    entries = [str(node.get("id")) for node in nodes if as_object(node.get("data")).get("type") == "ChatInput"]
    return entries[0] if len(entries) == 1 else None


def _for_entry(entry: str, message: Message) -> dict[str, Any]:
    """What has a flow keep a message in its Chat Input, and do no more."""
    fields: dict[str, Any] = {"input_value": message.text, "mode": "stream", "stop_component_id": entry}
    if message.role == "assistant":
        fields["tweaks"] = {entry: {"sender": "Machine", "sender_name": "AI"}}
    return fields


def _message(stored: dict[str, Any]) -> Message | None:
    """A message as we know it; None for what components say of themselves, such as their errors."""
    role = _ROLES.get(str(stored.get("sender")))
    if role is None or stored.get("category", "message") != "message":
        return None
    text, timestamp = str(stored.get("text")), stored.get("timestamp")
    return asked(text, timestamp) if role == "user" else Message(role, text, timestamp)
