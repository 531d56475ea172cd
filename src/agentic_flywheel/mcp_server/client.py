"""A client of the server, with the SDK's own client, to a server process that can be killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mcp import Client, MCPError, StdioServerParameters, stdio_client

from ..errors import FlywheelError

# The SDK's client does not tell the process id of the server that it starts. So it starts this, which notes
# its id in a file and then becomes the server: the process, and its id, stay the same.
_NOTE_ID_AND_BECOME = """
import os, sys
with open(sys.argv[1], "w") as note:
    note.write(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Connection:
    """A client that is connected to a server process of its own."""

    client: Client
    pid: int

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured result of a tool.

        Raises:
            FlywheelError: the tool reported an error; the message is the tool's.
        """
        result = await self.client.call_tool(tool, arguments)
        if result.is_error or not isinstance(result.structured_content, dict):
            texts = [getattr(content, "text", "") for content in result.content]
            raise FlywheelError(" ".join(texts) or f"{tool} answered without a result")
        return result.structured_content

    def kill(self) -> None:
        """SIGKILL the server: it gets no chance to save anything, or to say goodbye."""
        os.kill(self.pid, signal.SIGKILL)


@asynccontextmanager
async def connected(
    command: Sequence[str], environ: Mapping[str, str], *, mode: str = "auto"
) -> AsyncIterator[Connection]:
    """Start a server over stdio and connect to it; on leaving, it has ended.

    Args:
        command: the server's command, an absolute path first, and its arguments.
        environ: variables beside the few that every MCP client passes on.
        mode: ``auto``, ``legacy`` (the older handshake), or a protocol version.

    Raises:
        FlywheelError: it did not start; what it said is on stderr.
    """
    try:
        async with AsyncExitStack() as stack:
            note = Path(stack.enter_context(TemporaryDirectory(prefix="flywheel-")), "pid")
            arguments = ["-c", _NOTE_ID_AND_BECOME, str(note), *command]
            parameters = StdioServerParameters(command=sys.executable, args=arguments, env=dict(environ))
            client = await _connect(stack, parameters, mode, command[0])
            yield Connection(client, _process_id(note))
    except BaseExceptionGroup as group:  # the SDK's task groups wrap what was raised inside of them
        raise _innermost(group) from None


async def _connect(stack: AsyncExitStack, parameters: StdioServerParameters, mode: str, command: str) -> Client:
    try:
        return await stack.enter_async_context(Client(stdio_client(parameters), mode=mode))
    except (MCPError, OSError, ExceptionGroup) as error:
        raise FlywheelError(f"the server {command} did not start: {_innermost(error)}") from error


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _process_id(note: Path) -> int:
    return int(note.read_text())
