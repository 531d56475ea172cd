"""``lfx serve``, Langflow's runtime without Langflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import httpx2

from tests.real_flows.product import ROOT, Product, expect
from tests.support.servers import HOST


class Lfx(Product):
    """It keeps nothing: not the conversations, and no flow that it was not started with."""

    name = "lfx"
    backend = "langflow"
    keeps = False
    moves = True
    program = ROOT / ".venv-lfx" / "bin" / "lfx"
    ready = "/health"
    options: ClassVar[Mapping[str, str]] = {"api": "workflow"}

    def command(self) -> list[str]:
        flow = Path(__file__).parent / "flows" / "lfx_counter.py"
        return ["serve", str(flow), "--host", HOST, "--port", str(self.port)]

    def environ(self) -> dict[str, str]:
        self.key = "sk-lfx-0123456789"
        return {"LANGFLOW_API_KEY": self.key, "DO_NOT_TRACK": "true"}

    def set_up(self, client: httpx2.Client) -> None:
        flows = expect(client.get("/flows", headers={"x-api-key": self.key}))
        self.flow = self.streamed_flow = flows[0]["id"]

    def forget(self, *, newest: int | None = None) -> None:
        pass
