"""What the server of a flow tells of its side of a conversation, while somebody waits for a turn."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from ..backends import Flow, Message
from ..errors import KeyRefused
from ..secrecy import Mask

log = logging.getLogger(__name__)

TELL_SECONDS = 2.0


class NotTold(Exception):
    """A server did not tell what it has; ``refused``: it does not let us read that."""

    def __init__(self, *, refused: bool = False) -> None:
        super().__init__(refused)
        self.refused = refused


class ServerSide:
    """Asks the servers of flows for the messages of a conversation.

    Args:
        mask: what is not stored. It is not in the messages either, so that they can be compared with turns.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._refused_by: set[str] = set()

    async def messages(self, flow: Flow, conversation: str, **enough: Any) -> list[Message] | None:
        """What a flow's server has of a conversation; None if it keeps nothing.

        Args:
            flow: the flow.
            conversation: what its server knows the conversation by.
            enough: what of it is needed; see `Flow.messages`.

        Raises:
            NotTold: it does not tell, or not within `TELL_SECONDS`. It is logged, and keeps no turn from being run.
        """
        try:
            async with asyncio.timeout(TELL_SECONDS):
                messages = await flow.messages(conversation, **enough)
        except KeyRefused as error:
            self._log_refusal(flow)
            raise NotTold(refused=True) from error
        except Exception as error:  # whatever it is
            log.warning("flow %s: what its server has is not known: %s", flow.id, type(error).__name__)
            raise NotTold from error
        return None if messages is None else [self._masked(message) for message in messages]

    def _masked(self, message: Message) -> Message:
        return replace(message, text=self._mask.text(message.text), told=self._mask.text(message.told))

    def _log_refusal(self, flow: Flow) -> None:
        """Say it once: the key stays the same for as long as this process lives."""
        if flow.id not in self._refused_by:
            self._refused_by.add(flow.id)
            log.warning(
                "flow %s: its key does not open the messages of its server, so turns that this loses are not told "
                "again, and answers that come too late are not read back; see 'flywheel flows check'",
                flow.id,
            )
