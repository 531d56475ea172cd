"""What came of a tool call, in both ways in which the SDK tells it: as a result, or as an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mcp.types import CallToolResult, ContentBlock, InputRequiredResult, TextContent
from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went.

    ``output`` is what it gave, in JSON types, ``text`` the same for people, or what went wrong. A call that
    is ``asking`` has not run yet: its client is to answer something first, and will call again.
    """

    status: Literal["completed", "failed", "cancelled", "asking"]
    text: str = ""
    output: Any = None

    @classmethod
    def of_result(cls, result: object) -> Outcome:
        """The outcome that a handler's result tells, or the same result on its way to the wire."""
        if isinstance(result, Mapping):
            if result.get("resultType") == "input_required":
                return cls("asking")
            try:
                result = CallToolResult.model_validate(result, by_name=False)
            except ValidationError:  # a shape of an extension's own
                return cls("completed")
        if isinstance(result, InputRequiredResult):
            return cls("asking")
        if not isinstance(result, CallToolResult):
            return cls("completed")
        text = "\n".join(_as_text(block) for block in result.content)
        if result.is_error:
            return cls("failed", text)
        structured = result.structured_content
        return cls("completed", text, text if structured is None else structured)

    @classmethod
    def of_error(cls, error: BaseException) -> Outcome:
        """The outcome that an exception tells."""
        if isinstance(error, asyncio.CancelledError):
            return cls("cancelled", "the caller cancelled it")
        return cls("failed", str(error) or type(error).__name__)


def _as_text(block: ContentBlock) -> str:
    """A piece of content as text; of what is none, only what it is."""
    return block.text if isinstance(block, TextContent) else f"[{block.type}]"
