"""The typed state of a session, as a tool's own parameter: ``cart: State[Cart]``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from mcp.server.mcpserver import Resolve
from mcp.server.mcpserver.exceptions import ToolError

from ..tool_sessions.calls import current_call
from ..tool_sessions.forms import codec_of
from .sdk import SDK

T = TypeVar("T")


async def get_state(kind: type[T]) -> T:
    """The state of this kind in the session that the tool call under way names.

    What is changed in it is saved when the tool has succeeded. This is what `State` calls; call it yourself
    in a handler of the low-level server.

    Args:
        kind: a pydantic model, dataclass, msgspec struct, TypedDict or dict that can be made without arguments.

    Raises:
        ToolError: the call names no session, or its state cannot be read; says what to do.
        RuntimeError: the server has no `DurableSessions`.
        TypeError: this is no kind of state.
    """
    return cast(T, await current_call(SDK).state(codec_of(cast(Hashable, kind))))


if TYPE_CHECKING:
    State = Annotated[T, "the state of the session"]
else:

    class State:
        """The state of a session as a parameter of a tool: ``cart: State[Cart]`` is a `Cart`.

        The tool has a ``session_id`` argument; the model passes that, and never sees the state. A session
        has one state of each kind, empty at first. It is loaded before the tool runs; when the tool has succeeded,
        what it changed in it is saved, before the client has the answer. When it has failed, nothing is. Calls with
        state of one session run one after another, on all machines.

        ``Cart`` is a pydantic model, dataclass, msgspec struct, TypedDict or dict, and can be made without
        arguments. It is stored as JSON under the session's context key ``state:Cart``: the name of the class.
        """

        def __class_getitem__(cls, kind: Any) -> Any:
            codec_of(kind)  # what cannot be kept is refused where the tool is written

            async def state_of_session(session_id: str | None) -> Any:
                if session_id != current_call(SDK).session_id:
                    raise ToolError("the session_id was changed on its way to the tool; annotate it as str")
                return await get_state(kind)

            return Annotated[kind, Resolve(state_of_session)]
