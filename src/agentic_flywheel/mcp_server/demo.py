"""The demo: a conversation over MCP whose server is killed half-way, and that goes on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .client import Connection, connected


class Narrator(Protocol):
    """Tells people what happens."""

    def event(self, text: str) -> None:
        """Something that happened around the conversation."""

    def said(self, question: str, answer: str) -> None:
        """A turn of the conversation."""

    def resumed(self, view: Mapping[str, Any]) -> None:
        """What `resume_session` answered."""


@dataclass(frozen=True, slots=True)
class Held:
    """A conversation that was held, and what was wrong with it: nothing, if all went well."""

    session_id: str
    where: str
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class Plot:
    """What is said. ``fact`` is random, so that an answer with it can come from the session only."""

    fact: str

    @property
    def before(self) -> tuple[str, ...]:
        """The questions before the server is killed."""
        return (
            "remember topic: structural tension",
            f"remember rehearsal room: {self.fact}",
            "What do you know about the topic?",
        )

    after = "In which room do we rehearse, what was the rehearsal room?"


async def hold_conversation(command: Sequence[str], environ: Mapping[str, str], narrator: Narrator) -> Held:
    """Hold a conversation with the `recap` flow, kill the server with SIGKILL, and go on with another one.

    Raises:
        FlywheelError: a server did not start, or a tool reported an error.
    """
    plot = Plot(f"B-{secrets.randbelow(9000) + 1000}")
    async with connected(command, environ) as server:
        _introduce(narrator, "first", server)
        session_id, where = await _begin(server, plot, narrator)
        server.kill()
    narrator.event(f"killed the server (SIGKILL to process {server.pid}), in the middle of the conversation")
    async with connected(command, environ) as server:
        _introduce(narrator, "second", server)
        view = await server.call("resume_session", session_id=session_id)
        narrator.resumed(view)
        answer = await _ask(server, session_id, plot.after, narrator)
    return Held(session_id, where, _faults(plot, view, answer))


def _introduce(narrator: Narrator, which: str, server: Connection) -> None:
    narrator.event(
        f"started the {which} server: process {server.pid}, MCP {server.client.protocol_version} over stdio"
    )


async def _begin(server: Connection, plot: Plot, narrator: Narrator) -> tuple[str, str]:
    created = await server.call("create_session", title="flywheel demo", flow_id="recap")
    session_id: str = created["session_id"]
    narrator.event(f"created the session {session_id}")
    for question in plot.before:
        await _ask(server, session_id, question, narrator)
    return session_id, created["saved"]["where"]


async def _ask(server: Connection, session_id: str, question: str, narrator: Narrator) -> str:
    reply = await server.call("run_flow", question=question, session_id=session_id)
    answer: str = reply["response"]
    narrator.said(question, answer)
    return answer


def _faults(plot: Plot, view: Mapping[str, Any], answer: str) -> list[str]:
    faults = []
    if [turn["question"] for turn in view["last_turns"]] != list(plot.before):
        faults.append(f"the history is not there: {view['turns']} turns instead of {len(plot.before)}")
    if view["context"].get("rehearsal room") != plot.fact:
        faults.append("the context is not there")
    if plot.fact not in answer:
        faults.append(f"the answer does not know {plot.fact!r}, which was said before the kill")
    return faults
