"""Flowise, with its database in a file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2

from tests.real_flows.product import ROOT, Product, expect, messages_of
from tests.support.servers import HOST

MODULES = ROOT / ".flowise" / "node_modules"
USER = {"email": "ada@example.org", "credential": "Throw-away-1"}
MAY = ["chatflows:view", "chatflows:create", "agentflows:view", "agentflows:create"]
FORGET = "DELETE FROM chat_message WHERE id IN (SELECT id FROM chat_message ORDER BY createdDate DESC LIMIT ?)"
CODE = Path(__file__).parent / "flows" / "flowise_counter.js"
VARIABLES = {"question": "{{question}}", "history": "{{chat_history}}", "word": "turn"}

Node = dict[str, Any]


class Flowise(Product):
    name = "flowise"
    backend = "flowise"
    program = MODULES / "node" / "bin" / "node"
    ready = "/api/v1/ping"

    def command(self) -> list[str]:
        return [str(MODULES / "flowise" / "bin" / "run"), "start"]

    def environ(self) -> dict[str, str]:
        folders = ("DATABASE_PATH", "SECRETKEY_PATH", "LOG_PATH", "BLOB_STORAGE_PATH")
        return {
            "HOST": HOST,
            "PORT": str(self.port),
            "DISABLE_FLOWISE_TELEMETRY": "true",
            "HTTP_SECURITY_CHECK": "false",  # else a flow may not call this machine
            **dict.fromkeys(folders, str(self.folder)),
        }

    def set_up(self, client: httpx2.Client) -> None:
        expect(client.post("/api/v1/account/register", json={"user": {"name": "Ada", **USER}}))
        cookies = _cookies(
            client.post("/api/v1/auth/login", json={"email": USER["email"], "password": USER["credential"]})
        )
        as_user = {"cookie": cookies, "x-request-from": "internal"}
        key = expect(client.post("/api/v1/apikey", json={"keyName": "us", "permissions": MAY}, headers=as_user))[0]
        self.key = key["apiKey"]
        flows = _Flows(client, self.key, key["id"])
        self.flow = flows.counter()
        self.streamed_flow = flows.streamed_counter()

    def forget(self, *, newest: int | None = None) -> None:
        with closing(sqlite3.connect(self.folder / "database.sqlite")) as database, database:
            database.execute(FORGET, [messages_of(newest)])


class _Flows:
    """Makes flows that only the key may use."""

    def __init__(self, client: httpx2.Client, key: str, key_id: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {key}"}
        self._key_id = key_id

    def counter(self) -> str:
        """A chatflow with a memory."""
        memory = self._node("bufferMemory", {"sessionId": "", "memoryKey": "chat_history"})
        inputs = {
            "functionInputVariables": json.dumps(VARIABLES),
            "javascriptFunction": CODE.read_text(),
            "memory": "{{bufferMemory_0.data.instance}}",
        }
        function = self._node("customFunction", inputs, {"output": "EndingNode"})
        return self._make("Counts turns", "CHATFLOW", memory, function)

    def streamed_counter(self) -> str:
        """An agentflow; those can be read as they are made."""
        start = self._node("startAgentflow", {"startInputType": "chatInput"})
        variables = [{"variableName": name, "variableValue": value} for name, value in VARIABLES.items()]
        inputs = {
            "customFunctionInputVariables": variables,
            "customFunctionJavascriptFunction": CODE.read_text(),
        }
        function = self._node("customFunctionAgentflow", inputs)
        reply = self._node("directReplyAgentflow", {"directReplyMessage": "{{ customFunctionAgentflow_0 }}"})
        return self._make("Counts turns aloud", "AGENTFLOW", start, function, reply)

    def _node(self, name: str, inputs: Node, outputs: Node | None = None) -> Node:
        known = expect(self._client.get(f"/api/v1/nodes/{name}", headers=self._headers))
        fields = ("label", "name", "type", "version", "category", "baseClasses")
        parameters = [{**each, "id": f"{name}_0-input-{each['name']}"} for each in known["inputs"]]
        data = {
            **{field: known[field] for field in fields},
            "id": f"{name}_0",
            "inputParams": parameters,
            "inputs": inputs,
            "outputs": outputs or {},
        }
        return {"id": f"{name}_0", "type": "customNode", "position": {"x": 0, "y": 0}, "data": data}

    def _make(self, name: str, kind: str, *nodes: Node) -> str:
        edges = [
            {"id": f"{before['id']}-{after['id']}", "source": before["id"], "target": after["id"]}
            | {"sourceHandle": f"{before['id']}-output", "targetHandle": f"{after['id']}-input"}
            for before, after in pairwise(nodes)
        ]
        overridable = {"Custom JS Function": [{"name": "functionInputVariables", "enabled": True}]}
        variables = [{"name": "tone", "enabled": True}]
        override = {"status": True, "nodes": overridable, "variables": variables}
        flow = {
            "name": name,
            "type": kind,
            "flowData": json.dumps({"nodes": nodes, "edges": edges}),
            "apiConfig": json.dumps({"overrideConfig": override}),
            "apikeyid": self._key_id,
        }
        return str(expect(self._client.post("/api/v1/chatflows", json=flow, headers=self._headers))["id"])


def _cookies(login: httpx2.Response) -> str:
    expect(login)
    return "; ".join(value.partition(";")[0] for value in login.headers.get_list("set-cookie"))
