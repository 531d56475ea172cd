"""Conversations on a real Langflow; run by ``make test-langflow``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_flywheel import Flywheel
from tests.real_flows.continuity import Continuity
from tests.real_flows.product import Product
from tests.real_flows.serve_langflow import Langflow


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Langflow(tmp_path_factory.mktemp("langflow")) as running:
        yield running


class TestLangflow(Continuity):
    async def test_parameters(self, settings: Path) -> None:
        """They are tweaks of the flow's components, for this run."""
        async with Flywheel.from_config(settings) as fw:
            reply = await fw.ask("one", parameters={"Counter": {"word": "Turn"}})
            again = await fw.ask("two", session_id=reply.session_id)
        assert (reply.text, again.text) == ("Turn 1: one", "turn 2: two")
