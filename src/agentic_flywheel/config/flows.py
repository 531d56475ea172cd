"""Flows and the servers that they run on, and what can be wrong with how they are described."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from math import inf
from typing import Any
from urllib.parse import urlsplit

import msgspec

from .times import LONGEST_TTL

SERVER_BACKENDS = ("flowise", "langflow")

Problems = Iterator[tuple[str, str]]
"""The names of settings that are wrong, each with what to say of it."""


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server that flows run on: ``[servers.NAME]``.

    ``backend`` is ``flowise`` or ``langflow``. ``key_env`` names the environment variable that holds the key.
    ``ca_file`` is a PEM file with authorities of your own; without ``verify`` no certificate is checked.
    """

    backend: str
    url: str
    key_env: str | None = None
    ca_file: str | None = None
    verify: bool = True

    @property
    def key(self) -> str | None:
        """The key, from the environment of this process; None if it holds none, or none is named."""
        return os.environ.get(self.key_env or "", "").strip() or None


class FlowTimesToLive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds that what a flow leaves behind is kept, 0 for ever; None: as ``[ttl]`` says."""

    execution: int | None = None
    history: int | None = None


class FlowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flow: ``[flows.NAME]``.

    It is a Python function, named by ``target`` as ``module:function``, or runs on a ``server``, which knows it
    as ``flow``. ``timeout`` is in seconds. ``turns`` is how many of the newest turns a function is given (-1: all,
    None: as `Flow` says).
    ``replay_turns`` and ``replay_bytes`` limit what a server is told again that it lacks of a conversation.
    """

    backend: str | None = None
    target: str = ""
    server: str | None = None
    flow: str | None = None
    description: str = ""
    keywords: tuple[str, ...] = ()
    timeout: float = 120.0
    turns: int | None = None
    idempotent: bool = False
    stream: bool = False
    api: str | None = None
    parameters: dict[str, Any] = {}
    ttl: FlowTimesToLive = FlowTimesToLive()
    replay_turns: int = 20
    replay_bytes: int = 32 * 1024


def server_problems(server: ServerSettings) -> Problems:
    """What is wrong with a server's settings; shows nothing that could be a key."""
    if server.backend not in SERVER_BACKENDS:
        yield "backend", f"is {server.backend!r}; it is 'flowise' or 'langflow'"
    if problem := _url_problem(server.url):
        yield "url", problem
    # Keys are hardly ever all capitals: so one that stands here by mistake is noticed, and never shown as a name.
    if server.key_env is not None and not re.fullmatch("[A-Z_][A-Z0-9_]*", server.key_env):
        yield (
            "key_env",
            "is no name of an environment variable (capitals, digits and _); put the key into a variable, and "
            "the name of the variable here",
        )


def _url_problem(url: str) -> str | None:
    form = "it has the form https://HOST:PORT or http://HOST:PORT"
    try:
        parts = urlsplit(url)
        names_a_server = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return f"names no server; {form}"
    if "@" in parts.netloc:
        return "holds a user or a password; take it out, and name the variable that holds the key in key_env"
    if not names_a_server:
        return f"names no server; {form}"
    if parts.query or parts.fragment:
        return f"goes on after the path of the server; {form}"
    return None


def flow_problems(flow: FlowSettings, servers: Mapping[str, ServerSettings]) -> Problems:
    """What is wrong with a flow's settings, where these are the servers."""
    if flow.server is None:
        yield from _function_problems(flow)
    elif flow.server in servers:
        yield from _server_flow_problems(flow, servers[flow.server])
    else:
        near = get_close_matches(flow.server, servers, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(servers)) or 'none'}"
        yield "server", f"is {flow.server!r}, and there is no [servers.{flow.server}]; {hint}"
    yield from _range_problems(flow)


def _function_problems(flow: FlowSettings) -> Problems:
    if flow.backend in SERVER_BACKENDS:
        yield "server", f"is missing: a {flow.backend} flow runs on a server; name its [servers.…] table"
    elif flow.backend not in (None, "custom"):
        yield "backend", f"is {flow.backend!r}; leave it out, or say 'custom' for a Python function"
    for setting in ("flow", "stream", "api", "parameters"):
        if getattr(flow, setting):
            yield setting, "is for flows on a server, and this one names no server"


def _server_flow_problems(flow: FlowSettings, server: ServerSettings) -> Problems:
    if flow.backend not in (None, server.backend):
        yield "backend", f"is {flow.backend!r}; leave it out: its server has {server.backend!r}"
    if flow.target:
        yield "target", "is for Python functions, and this flow names a server; its id there goes into flow"
    if flow.turns is not None:
        yield "turns", "is for Python functions: a server has the turns itself; for what it lacks see replay_turns"
    if flow.api is not None and server.backend != "langflow":
        yield "api", f"is for langflow, and its server has {server.backend!r}; leave it out"
    if flow.api not in (None, "run", "workflow"):
        yield "api", f"is {flow.api!r}; it is 'run' or 'workflow'"


def _range_problems(flow: FlowSettings) -> Problems:
    if not 0 < flow.timeout < inf:
        yield "timeout", f"is {flow.timeout}; it is a number of seconds above 0"
    if flow.turns is not None and flow.turns < -1:
        yield "turns", f"is {flow.turns}; it is a number of turns, or -1 for all"
    for setting in ("replay_turns", "replay_bytes"):
        if getattr(flow, setting) < 0:
            yield setting, f"is {getattr(flow, setting)}; it is 0 or more"
    for kind in flow.ttl.__struct_fields__:
        seconds = getattr(flow.ttl, kind)
        if seconds is not None and not 0 <= seconds <= LONGEST_TTL:
            yield f"ttl.{kind}", f"is {seconds}; it is a number of seconds up to {LONGEST_TTL}, 0 to keep for ever"
