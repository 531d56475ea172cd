"""A conversation that moves from a real Flowise to a real Langflow, and back; run by ``make test-moving``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_flywheel import Flywheel
from tests.real_flows.continuity import ask, execution_of, on_record
from tests.real_flows.product import Product
from tests.real_flows.serve_flowise import Flowise
from tests.real_flows.serve_langflow import Langflow
from tests.support.servers import Server

SETTINGS = """
default_flow = "flowise"
state_dir = "{folder}/state"
[store]
url = "{redis}"
"""
ONE = """
[servers.{name}]
backend = "{name}"
url = "{url}"
key_env = "{name_in_capitals}_KEY"
[flows.{name}]
server = "{name}"
flow = "{flow}"
timeout = 60.0
"""


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Product]]:
    with Flowise(tmp_path_factory.mktemp("flowise")) as one, Langflow(tmp_path_factory.mktemp("langflow")) as other:
        yield [one, other]


@pytest.fixture
def settings(products: list[Product], redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = SETTINGS.format(folder=tmp_path, redis=redis.url)
    for product in products:
        capitals = product.name.upper()
        monkeypatch.setenv(f"{capitals}_KEY", product.key)
        text += ONE.format(name=product.name, url=product.url, name_in_capitals=capitals, flow=product.flow)
    path = tmp_path / "flywheel.toml"
    path.write_text(text)
    return path


async def test_there_and_back(settings: Path) -> None:
    """Each goes on with what was said at the other one, and the executions note how much of that it was told."""
    async with Flywheel.from_config(settings) as fw:
        session_id = (await ask(fw, None, "one", "turn 1: one")).id
        await ask(fw, session_id, "two", "turn 2: two")
        there = await fw.ask("three", session_id=session_id, flow="langflow")
        assert there.text == "turn 3: three"
        said = (await fw.ask("what was said?", session_id=session_id)).text
        assert [each.partition(": ")[2] for each in said.split(" | ")][:4] == [
            "one",
            "turn 1: one",
            "two",
            "turn 2: two",
        ]
        back = await fw.ask("five", session_id=session_id, flow="flowise")
        assert "turn 3: three" in back.text  # it repeats its question, before which that is told
        noted = [(await execution_of(fw, reply.turn_id)).extra["rehydrated"] for reply in (there, back)]
    assert [(each["turns"], each["of"]) for each in noted] == [(2, 2), (2, 4)]
    await on_record(settings, session_id, ["one", "two", "three", "what was said?", "five"])
