"""Conversations on a real Flowise; run by ``make test-flowise``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_flywheel import Flywheel
from tests.real_flows.continuity import Continuity
from tests.real_flows.product import Product
from tests.real_flows.serve_flowise import Flowise


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Flowise(tmp_path_factory.mktemp("flowise")) as running:
        yield running


class TestFlowise(Continuity):
    async def test_parameters(self, settings: Path) -> None:
        """They are what the flow lets callers override, for this run."""
        word = {"functionInputVariables": {"customFunction_0": {"word": "Turn"}}}
        async with Flywheel.from_config(settings) as fw:
            reply = await fw.ask("one", parameters=word)
            again = await fw.ask("two", session_id=reply.session_id)
        assert (reply.text, again.text) == ("Turn 1: one", "turn 2: two")
