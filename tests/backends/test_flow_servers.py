"""The small servers of the tests answer as Flowise 3.1.4, Langflow 1.13.0 and lfx 1.13.0 did.

What those were asked, and what they answered, is in ``recorded.json``. Refusals have to be the same to the letter,
answers in their shape; what is large and does not matter to us was left out there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support import flow_servers
from tests.support.flow_servers import KEY, FlowiseServer, LangflowServer, LfxServer, ServedFlows

_RECORDED = Path(flow_servers.__file__).with_name("recorded.json")
_EXCHANGES: list[dict[str, Any]] = json.loads(_RECORDED.read_text("utf-8"))
_SERVERS: dict[str, type[ServedFlows]] = {"flowise": FlowiseServer, "langflow": LangflowServer, "lfx": LfxServer}
_TOLD = {"token", "metadata", "end", "error", "add_message", "output", "start"}


@pytest.mark.parametrize("exchange", _EXCHANGES, ids=lambda each: f"{each['server']}: {each['name']}")
async def test_it_answers_as_the_real_one_did(exchange: dict[str, Any]) -> None:
    with _SERVERS[exchange["server"]](key=KEY) as served:
        async with httpx2.AsyncClient(base_url=served.url) as client:
            headers = {"content-type": "application/json", **_key(exchange)}
            content = (exchange["body"] or "").encode()
            answer = await client.request(exchange["method"], exchange["path"], headers=headers, content=content)
    assert answer.status_code == exchange["status"]
    assert answer.headers["content-type"].partition(";")[0] == exchange["kind"]
    if exchange["kind"] == "text/event-stream":
        names = [name for name in re.findall(r'"event": ?"(\w+)"', answer.text) if name in _TOLD]
        assert names == exchange["reply"]
    elif exchange["kind"] == "application/json" and exchange["status"] < 400:
        assert _differences(exchange["reply"], answer.json()) == []
    elif exchange["kind"] == "application/json":
        assert answer.json() == exchange["reply"]


def _key(exchange: dict[str, Any]) -> dict[str, str]:
    if exchange["key"] is None:
        return {}
    key = "wrong" if exchange["key"] == "wrong" else KEY
    if exchange["server"] == "flowise" or exchange["key"] == "bearer":
        return {"authorization": f"Bearer {key}"}
    return {"x-api-key": key}


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two values differ in their shape. What is empty stands for anything of its type."""
    if type(one) is not type(other):
        return [f"{path}: {one!r} is not like {other!r}"]
    if isinstance(one, dict) and one:
        found = [f"{path}.{name}" for name in one.keys() ^ other.keys()]
        for name in one.keys() & other.keys():
            found += _differences(one[name], other[name], f"{path}.{name}")
        return found
    if isinstance(one, list) and one and other:
        return _differences(one[0], other[0], f"{path}[0]")
    return []
