"""Conversations on a real Flowise; run by ``make test-flowise``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentic_flywheel import Flywheel
from agentic_flywheel.errors import FlowFailed
from tests.real_flows.continuity import Continuity
from tests.real_flows.product import Product
from tests.real_flows.serve_flowise import Flowise

UPLOAD = {"data": "data:text/plain;base64,aGVsbG8=", "type": "file", "name": "x.txt", "mime": "text/plain"}


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

    @pytest.mark.parametrize("flow", ["counter", "streamed"])
    async def test_variables(self, settings: Path, flow: str) -> None:
        """Those that the flow lets callers set; others are left out."""
        async with Flywheel.from_config(settings) as fw:
            reply = await fw.ask("one", flow=flow, parameters={"vars": {"tone": "kind", "other": "x"}})
            again = await fw.ask("two", session_id=reply.session_id)
            with pytest.raises(FlowFailed, match="was not asked: parameters: vars is str"):
                await fw.ask("three", session_id=reply.session_id, parameters={"vars": '{"tone": "kind"}'})
        assert (reply.text, again.text) == ("turn 1: one (kind)", "turn 2: two")

    async def test_files(self, settings: Path) -> None:
        """They are kept with the question; one that goes along whole stands before it; a wrong one is refused."""
        whole = {"type": "file:full", "name": "x.txt", "mime": "text/plain", "data": "all of it"}
        wrong = {**UPLOAD, "name": "x.png"}
        async with Flywheel.from_config(settings) as fw:
            session_id = (await fw.ask("one", parameters={"uploads": [UPLOAD]})).session_id
            read = await fw.ask("two", session_id=session_id, flow="streamed", parameters={"uploads": [whole]})
            with pytest.raises(FlowFailed, match=r"flow 'streamed' failed .*MIME type mismatch"):
                await fw.ask("three", session_id=session_id, parameters={"uploads": [wrong]})
            messages = [await fw.flows.get(flow).messages(session_id) for flow in ("counter", "streamed")]
        assert read.text.endswith(": <doc name='x.txt'>all of it</doc>\n\n\n\ntwo")
        assert [next(each.text for each in found or ()) for found in messages] == ["one", "two"]
