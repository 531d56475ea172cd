"""Conversations on a real ``lfx serve``; run by ``make test-lfx``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_flywheel import Flywheel
from agentic_flywheel.errors import FlowFailed
from tests.real_flows.continuity import Continuity
from tests.real_flows.product import Product
from tests.real_flows.serve_lfx import Lfx


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Lfx(tmp_path_factory.mktemp("lfx")) as running:
        yield running


class TestLfx(Continuity):
    async def test_parameters(self, settings: Path) -> None:
        """It takes no tweaks, and the error says so; the session goes on."""
        async with Flywheel.from_config(settings) as fw:
            session_id = (await fw.ask("one")).session_id
            with pytest.raises(FlowFailed, match=r"flow 'counter'.*tweaks"):
                await fw.ask("two", session_id=session_id, parameters={"Counter": {"word": "Turn"}})
            assert (await fw.ask("three", session_id=session_id)).text == "turn 2: three"
