"""Langflow, with its database in a file."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import httpx2

from tests.real_flows.product import ROOT, Product, expect, messages_of
from tests.support.servers import HOST

FORGET = "DELETE FROM message WHERE id IN (SELECT id FROM message ORDER BY timestamp DESC LIMIT ?)"
BIN = ROOT / ".venv-langflow" / "bin"


class Langflow(Product):
    name = "langflow"
    backend = "langflow"
    moves = True
    program = BIN / "langflow"
    ready = "/health_check"

    def command(self) -> list[str]:
        return ["run", "--backend-only", "--host", HOST, "--port", str(self.port)]

    def environ(self) -> dict[str, str]:
        return {
            "LANGFLOW_CONFIG_DIR": str(self.folder),
            "LANGFLOW_DATABASE_URL": f"sqlite:///{self.folder / 'langflow.db'}",
            "LANGFLOW_AUTO_LOGIN": "true",
            "LANGFLOW_CREATE_STARTER_PROJECTS": "false",
            "DO_NOT_TRACK": "true",
        }

    def set_up(self, client: httpx2.Client) -> None:
        token = expect(client.get("/api/v1/auto_login"))["access_token"]
        made = expect(
            client.post("/api/v1/api_key/", json={"name": "us"}, headers={"authorization": f"Bearer {token}"})
        )
        self.key = made["api_key"]
        script = Path(__file__).parent / "flows" / "langflow_counter.py"
        flow = subprocess.run([BIN / "python", script], capture_output=True, check=True, cwd=self.folder).stdout
        headers = {"x-api-key": self.key, "content-type": "application/json"}
        self.flow = expect(client.post("/api/v1/flows/", content=flow, headers=headers))["id"]
        self.streamed_flow = self.flow

    def forget(self, *, newest: int | None = None) -> None:
        with closing(sqlite3.connect(self.folder / "langflow.db")) as database, database:
            database.execute(FORGET, [messages_of(newest)])
