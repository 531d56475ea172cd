"""Who takes part: in which environment, and which class is the adapter."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import cast

from .peers.base import Make


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant.

    Attributes:
        name: what it is called on the command line and in the results.
        title: what it is called in the table.
        adapter: ``module:class`` in `benchmarks.peers`.
        environment: the requirements file that its environment is made from; None for the benchmark's own.
        whole: whether each save writes the whole session.
        on_disk: whether it keeps its data in a file of its own and not in Redis.
        crowds_only: whether it takes part where many write at once, and in nothing else.
    """

    name: str
    title: str
    adapter: str
    environment: str | None = None
    whole: bool = False
    on_disk: bool = False
    crowds_only: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is this project's."""
        return self.name.startswith("ours")

    def make(self) -> Make:
        """The adapter's class; imports its library."""
        module, _, name = self.adapter.partition(":")
        return cast(Make, getattr(import_module(f"{__package__}.peers.{module}"), name))


FLOOR, FLOOR_STRING, OURS = "floor", "floor-string", "ours"
SHARED, SINGLE = "store", "store-single"

ENTRIES = (
    Entry(FLOOR, "floor: RPUSH, LRANGE", "raw:RawList"),
    Entry(FLOOR_STRING, "floor: APPEND, GET", "raw:RawString"),
    Entry(OURS, "ours", "ours:Ours"),
    Entry("ours-flow", "ours, turns with a flow", "ours:OursWithFlow"),
    Entry("ours-sqlite", "ours on SQLite", "ours:OursOnSqlite", on_disk=True),
    Entry(SHARED, "our store, shared pipelines", "stores:SharedPipelines", crowds_only=True),
    Entry(SINGLE, "our store, a call each", "stores:SingleCalls", crowds_only=True),
    Entry("openai", "openai-agents Redis", "openai_agents:OpenAiRedis", "openai-agents"),
    Entry("openai-sqlite", "openai-agents SQLite", "openai_agents:OpenAiSqlite", "openai-agents", on_disk=True),
    Entry("langchain", "langchain-redis", "langchain:LangChainRedis", "langchain-redis"),
    Entry("langchain-list", "langchain-community list", "langchain:LangChainList", "langchain-community"),
    Entry("agent-framework", "agent-framework-redis", "agent_framework:AgentFramework", "agent-framework-redis"),
    Entry("google-adk", "google-adk-community", "google_adk:GoogleAdk", "google-adk-community", whole=True),
    Entry(
        "langgraph", "langgraph-checkpoint-redis", "langgraph:LangGraph", "langgraph-checkpoint-redis", whole=True
    ),
    Entry("key-value", "py-key-value-aio (FastMCP)", "key_value:KeyValue", "py-key-value-aio", whole=True),
    Entry("rewrite", "json and SETEX", "rewrite:WholeDocument", whole=True),
)


def named(names: str | None) -> list[Entry]:
    """The contestants of a comma-separated list; all of them if there is none.

    Raises:
        ValueError: nobody is called so; says who is.
    """
    wanted = names.split(",") if names else [entry.name for entry in ENTRIES]
    known = {entry.name: entry for entry in ENTRIES}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"no contestant is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [entry for entry in ENTRIES if entry.name in wanted]
