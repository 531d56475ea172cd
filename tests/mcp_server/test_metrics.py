"""`/health` and `/metrics`: how a server is, without a word of content."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from agentic_flywheel.manager import Health
from agentic_flywheel.manager.meter import Meter
from agentic_flywheel.mcp_server.metrics import Family, Sample, exposition, families
from agentic_flywheel.mcp_server.tokens import new_token
from tests.support.http_server import HttpServer, client_of, get, result_of
from tests.support.servers import Server

PATIENCE = 60.0


def parsed(text: str) -> dict[str, float]:
    """The figures of an exposition, as Prometheus's own parser reads it: name and labels, value."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def figures(server: HttpServer) -> dict[str, float]:
    answer = await get(f"{server.base}/metrics")
    assert answer.status_code == httpx2.codes.OK
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


async def health(server: HttpServer) -> dict[str, object]:
    answer = await get(f"{server.base}/health")
    assert answer.status_code == httpx2.codes.OK
    found: dict[str, object] = answer.json()
    return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when it holds."""
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_saves_and_loads_are_counted_and_timed(environ: dict[str, str], tmp_path: Path) -> None:
    """By outcome; nothing that was said, and no session's id, is in it."""
    with HttpServer(tmp_path, environ) as server:
        async with client_of(server.url, "auto") as client:
            begun = await result_of(client, "run_flow", question="confidential", flow_id="echo")
            await client.call_tool("resume_session", {"session_id": "session_unknown"})
        found = await figures(server)
        shown = (await get(f"{server.base}/metrics")).text + (await get(f"{server.base}/health")).text
        assert await health(server) == {"state": "ok", "pending": 0, "refused": 0}
    assert found["flywheel_saves_total outcome=stored"] >= 2
    assert found["flywheel_saves_total outcome=refused"] == 0
    assert found["flywheel_loads_total outcome=absent"] == 1
    assert found["flywheel_store_state state=ok"] == 1
    for call in ("save", "load"):
        name = "flywheel_call_duration_seconds"
        assert 0 < found[f"{name} call={call} quantile=0.5"] <= found[f"{name} call={call} quantile=0.99"]
        assert found[f"{name}_sum call={call}"] > 0
    loads = sum(value for name, value in found.items() if name.startswith("flywheel_loads_total"))
    assert found["flywheel_call_duration_seconds_count call=load"] == loads
    for secret in ("confidential", begun["session_id"], "session_unknown", str(tmp_path)):
        assert secret not in shown


async def test_an_outage_is_seen_while_it_lasts(
    environ: dict[str, str], own_server: Server, tmp_path: Path
) -> None:
    """The server stays with its load balancer meanwhile, since it takes writes; and it tells of the end."""
    environ["FLYWHEEL_REDIS_URL"] = own_server.url
    with HttpServer(tmp_path, environ) as server:
        async with client_of(server.url, "auto") as client:
            begun = await result_of(client, "run_flow", question="a", flow_id="echo")
            assert (await figures(server))["flywheel_breaker_state state=closed"] == 1
            own_server.kill()
            for question in "bcde":
                reply = await result_of(client, "run_flow", question=question, session_id=begun["session_id"])
                assert reply["saved"]["outcome"] == "journalled"
        await until(lambda: says(server, "flywheel_breaker_state state=closed", 0))
        _check_away(await figures(server), await health(server))
        own_server.start()
        await until(lambda: says(server, "flywheel_store_state state=ok", 1))
        back = await figures(server)
        assert await health(server) == {"state": "ok", "pending": 0, "refused": 0}
    assert back["flywheel_breaker_state state=closed"] == 1
    assert back["flywheel_journal_pending"] == 0
    assert "flywheel_journal_oldest_timestamp_seconds" not in back


async def says(server: HttpServer, name: str, value: float) -> bool:
    """Whether a figure is this one now."""
    return (await figures(server))[name] == value


def _check_away(found: dict[str, float], told: dict[str, object]) -> None:
    assert found["flywheel_store_state state=unavailable"] == 1
    assert found["flywheel_saves_total outcome=journalled"] >= 4
    assert found["flywheel_journal_pending_bytes"] > 0
    assert abs(found["flywheel_journal_oldest_timestamp_seconds"] - time.time()) < PATIENCE * 2
    assert (told["state"], told["pending"]) == ("unavailable", found["flywheel_journal_pending"])


async def test_figures_are_for_those_who_may_call(environ: dict[str, str], tmp_path: Path) -> None:
    """Where calls need a token the figures do; the health says little, and is for everybody."""
    token, line = new_token("prometheus")
    with HttpServer(tmp_path, {**environ, "FLYWHEEL_TOKENS": line}) as server:
        assert (await health(server))["state"] == "ok"
        page = f"{server.base}/metrics"
        assert (await get(page)).status_code == httpx2.codes.UNAUTHORIZED
        assert (await get(page, Authorization=f"Bearer {token}x")).status_code == httpx2.codes.UNAUTHORIZED
        answer = await get(page, Authorization=f"Bearer {token}")
    assert parsed(answer.text)["flywheel_store_state state=ok"] == 1


def test_the_text_can_be_read_whatever_is_in_it() -> None:
    """Labels and help with all that means something to the format; figures of any size."""
    odd = 'a "quoted" \\ back\\slash\nand a line'
    text = exposition(
        [
            Family("a_total", "counter", odd, [Sample(2**53, {"label": odd, "other": "\u00e4{},="})]),
            Family("b", "gauge", "plain", [Sample(1e-9), Sample(float("inf"), {"x": ""})]),
            Family("c", "summary", "s", [Sample(0.25, {"quantile": "0.5"}), Sample(2.5, {}, "_sum")]),
        ]
    )
    first, second, third = text_string_to_metric_families(text)
    assert (first.documentation, first.type) == (odd, "counter")
    assert first.samples[0].labels == {"label": odd, "other": "\u00e4{},="}
    assert [sample.value for sample in (*first.samples, *second.samples)] == [2**53, 1e-9, float("inf")]
    assert [sample.name for sample in third.samples] == ["c", "c_sum"]


def test_each_state_has_its_figure() -> None:
    """And what is not known has none: a store without a breaker, a journal without an entry."""
    for state in ("ok", "replaying", "unavailable", "misconfigured", "off"):
        found = parsed(exposition(families(Health(state, "sqlite", "here"), Meter())))
        states = {name: value for name, value in found.items() if name.startswith("flywheel_store_state")}
        assert len(states) == 5
        assert [name for name, value in states.items() if value] == [f"flywheel_store_state state={state}"]
        assert not [name for name in found if "breaker" in name or "oldest" in name or "duration" in name]
