"""What holds on every product: a conversation goes on over the death of each process, and is on record."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentic_flywheel import Execution, Flywheel, UniversalSession
from agentic_flywheel.config import Settings
from agentic_flywheel.errors import FlowFailed, FlowUnsettled
from agentic_flywheel.mcp_server.client import Connection
from agentic_flywheel.wiring import discover
from tests.real_flows.callers import callers
from tests.real_flows.conftest import Serve
from tests.real_flows.product import Product
from tests.resilience.outage import until, until_replayed
from tests.support.servers import Server


class Continuity:
    """Each test has sessions, a Redis and settings of its own; the product goes on through all of them."""

    async def test_the_library(self, product: Product, redis: Server, settings: Path) -> None:
        """The flow server is killed in the middle of a turn, then Redis: nothing that was answered is lost."""
        async with Flywheel.from_config(settings) as fw:
            session_id = (await ask(fw, None, "one", "turn 1: one")).id
            await ask(fw, session_id, "two", "turn 2: two")
            cut_short = await killed_while_it_runs(fw, session_id, product)
            with pytest.raises(FlowFailed, match=r"^flow 'counter': .* cannot be reached") as down:
                await fw.ask("while it is down", session_id=session_id)
            assert not isinstance(down.value, FlowUnsettled)
            product.start()
            await ask(fw, session_id, "three", "turn 3: three")
            redis.kill()
            await ask(fw, session_id, "four", "turn 4: four", outcome="journalled")
            redis.restart()
            await until_replayed(fw.sessions)
            await ask(fw, session_id, "five", "turn 5: five")
        await on_record(settings, session_id, ["one", "two", "three", "four", "five"])
        async with Flywheel.from_config(settings) as fw:
            history = await fw.sessions.load_history(session_id, "counter")
            execution = await execution_of(fw, cut_short)
        statuses = {entry["question"]: entry["status"] for entry in history}
        assert statuses["while it is down"] == "failed"
        assert execution.status == "unknown"
        assert product.key not in (execution.error or "")

    async def test_an_mcp_server(self, product: Product, redis: Server, settings: Path, serve: Serve) -> None:
        """Our server is killed, the flow server, Redis, and our server while Redis is dead."""
        async with serve() as first:
            begun = await first.call("run_flow", question="one")
            assert begun["response"] == "turn 1: one"
            session_id = begun["session_id"]
            first.kill()
        async with serve() as second:
            await call(second, session_id, "two", "turn 2: two")
            product.kill()
            product.start()
            await call(second, session_id, "three", "turn 3: three")
            redis.kill()
            await call(second, session_id, "four", "turn 4: four", outcome="journalled")
            second.kill()
        redis.restart()
        async with serve() as third:
            await call(third, session_id, "five", "turn 5: five", outcome="")
            view = await third.call("resume_session", session_id=session_id)
        assert view["turns"] == 5
        assert view["last_turns"][-1]["response"] == "turn 5: five"
        await on_record(settings, session_id, ["one", "two", "three", "four", "five"])

    async def test_an_mcp_server_that_is_killed_while_the_flow_runs(
        self, product: Product, settings: Path, serve: Serve
    ) -> None:
        """The turn is found on the flow server, if that keeps it, or told of as interrupted; none is run again."""
        async with callers() as port:
            async with serve() as first:
                session_id = (await first.call("run_flow", question="one"))["session_id"]
                asked = first.call("run_flow", question=port.question, session_id=session_id)
                running = asyncio.create_task(asked)
                await port.first.wait()
                first.kill()
                await asyncio.wait([running])
            assert running.exception()
            port.hang_up.set()
            async with serve() as second:
                await until_it_is_told(second, session_id, port.question, product.keeps)
                await call(second, session_id, "two", f"turn {3 if product.keeps else 2}: two")
        await on_record(settings, session_id, ["one", *([port.question] if product.keeps else []), "two"])

    async def test_an_answer_that_comes_after_the_time_out(self, product: Product, settings: Path) -> None:
        """The turn is unknown until it is settled from what the flow server keeps; else it stays so."""
        async with Flywheel.from_config(settings) as fw, callers() as port:
            session_id = (await fw.ask("one", flow="hasty")).session_id
            with pytest.raises(FlowUnsettled, match="hasty"):
                await fw.ask(port.question, session_id=session_id)
            turn_id = (await fw.sessions.require(session_id)).metadata["unsettled"][0]
            assert (await execution_of(fw, turn_id)).status == "unknown"
            port.hang_up.set()
            if product.keeps:
                await until_it_keeps(fw, session_id, port.question)
            answered = await fw.ask("two", session_id=session_id)
            execution = await execution_of(fw, turn_id)
        assert answered.text == f"turn {3 if product.keeps else 2}: two"
        assert execution.status == ("completed" if product.keeps else "unknown")
        await on_record(settings, session_id, ["one", *([port.question] if product.keeps else []), "two"])

    async def test_a_flow_server_that_lost_its_side(self, product: Product, settings: Path) -> None:
        """The next turn carries what was said, and its execution notes that; later turns know of it, too, and
        those of the next process."""
        async with Flywheel.from_config(settings) as fw:
            session_id = (await ask(fw, None, "one", "turn 1: one")).id
            await ask(fw, session_id, "two", "turn 2: two")
            if product.keeps:
                product.kill()
                product.forget()
                product.start()
            reply = await fw.ask("three", session_id=session_id)
            execution = await execution_of(fw, reply.turn_id)
            told = (await fw.ask("what was said?", session_id=session_id)).text
            later = await fw.ask("five", session_id=session_id)
        async with Flywheel.from_config(settings) as fw:
            last = await fw.ask("six", session_id=session_id)
        assert [each.text for each in (reply, later, last)] == ["turn 3: three", "turn 5: five", "turn 6: six"]
        rehydrated = execution.extra["rehydrated"]
        assert (rehydrated["turns"], rehydrated["of"]) == (2, 2)
        said = [each.partition(": ")[2] for each in told.split(" | ")]
        assert said[:6] == ["one", "turn 1: one", "two", "turn 2: two", "three", "turn 3: three"]
        await on_record(settings, session_id, ["one", "two", "three", "what was said?", "five", "six"])

    async def test_a_flow_server_that_lost_its_newest_turn(self, product: Product, settings: Path) -> None:
        """As when it is set up again from a backup: it is told what it lacks, and that once."""
        async with Flywheel.from_config(settings) as fw:
            session_id = (await ask(fw, None, "one", "turn 1: one")).id
            await ask(fw, session_id, "two", "turn 2: two")
            await ask(fw, session_id, "three", "turn 3: three")
            if product.keeps:
                product.kill()
                product.forget(newest=1)
                product.start()
            reply = await fw.ask("what was said?", session_id=session_id)
            execution = await execution_of(fw, reply.turn_id)
        async with Flywheel.from_config(settings) as fw:
            later = await execution_of(fw, (await fw.ask("five", session_id=session_id)).turn_id)
        assert "turn 3: three" in reply.text
        assert execution.extra["rehydrated"]["turns"] == (1 if product.keeps else 3)
        assert ("rehydrated" in later.extra) == (not product.keeps)
        await on_record(settings, session_id, ["one", "two", "three", "what was said?", "five"])

    async def test_questions_at_the_same_time(self, settings: Path) -> None:
        """Those of one session are run one after another, from two processes as from one; others in parallel."""
        async with Flywheel.from_config(settings) as ours, Flywheel.from_config(settings) as theirs:
            session_id = (await ours.ask("one")).session_id
            both = [(name, fw) for name, fw in (("ours", ours), ("theirs", theirs)) for _ in range(4)]
            asked = [fw.ask(f"{name} {n}", session_id=session_id) for n, (name, fw) in enumerate(both)]
            others = [fw.ask("one") for _, fw in both]
            replies = await asyncio.gather(*asked)
            assert [reply.text for reply in await asyncio.gather(*others)] == ["turn 1: one"] * 8
        assert sorted(reply.text.partition(":")[0] for reply in replies) == [f"turn {n}" for n in range(2, 10)]

    async def test_what_the_flow_server_keeps(self, product: Product, settings: Path) -> None:
        """It can be read back, and it is what we have."""
        async with Flywheel.from_config(settings) as fw:
            session_id = (await fw.ask("one")).session_id
            session = await ask(fw, session_id, "two", "turn 2: two")
            messages = await fw.flows.get("counter").messages(session_id)
        ours = [text for turn in session.history for text in (turn.question, turn.response)]
        assert (messages is not None) == product.keeps
        if messages is not None:
            assert [message.text for message in messages] == ours
            assert [message.role for message in messages] == ["user", "assistant"] * 2
            assert all(message.timestamp for message in messages)

    async def test_a_streamed_answer(self, settings: Path) -> None:
        """Its pieces are handed on as they come, and are the answer that is on record."""
        pieces: list[str] = []
        async with Flywheel.from_config(settings) as fw:
            reply = await fw.ask("stream of words", flow="streamed", on_text=pieces.append)
            again = await fw.ask("stream of words", session_id=reply.session_id, on_text=pieces.append)
        assert (reply.text, again.text) == ("turn 1: stream of words", "turn 2: stream of words")
        assert "".join(pieces) == reply.text + again.text
        await on_record(settings, reply.session_id, ["stream of words"] * 2)

    @pytest.mark.parametrize(
        ("flow", "says"),
        [("refused", r"refuses the key"), ("unknown", r"no such flow"), ("counter", r"broke on purpose")],
    )
    async def test_trouble(self, product: Product, settings: Path, flow: str, says: str) -> None:
        """It is told with the name of the flow and without the key, is on record, and the session goes on."""
        async with Flywheel.from_config(settings) as fw:
            session_id = (await fw.ask("one")).session_id
            with pytest.raises(FlowFailed, match=says) as trouble:
                await fw.ask("boom", session_id=session_id, flow=flow)
            await ask(fw, session_id, "two", "turn 2: two")
            (entry,) = [
                each for each in await fw.sessions.load_history(session_id, flow) if each["question"] == "boom"
            ]
        assert not isinstance(trouble.value, FlowUnsettled)
        assert entry["status"] == "failed"
        assert f"flow {flow!r}" in str(trouble.value)
        assert product.key not in str(trouble.value)
        assert "wrong-key" not in str(trouble.value)

    async def test_discovery_and_checks(self, product: Product, settings: Path) -> None:
        """The server's flows are found under their ids there, and a flow can be checked without asking it."""
        found = await discover(Settings.load(settings), "studio")
        assert {product.flow, product.streamed_flow} <= {flow.flow for flow in found}
        async with Flywheel.from_config(settings) as fw:
            assert product.url in await fw.flows.get("counter").check()
            with pytest.raises(FlowFailed, match="no such flow"):
                await fw.flows.get("unknown").check()
            with pytest.raises(FlowFailed, match="refuses the key"):
                await fw.flows.get("refused").check()


async def ask(
    fw: Flywheel, session_id: str | None, question: str, answer: str, outcome: str = "stored"
) -> UniversalSession:
    """Ask, expect this answer, and get the session as it is now."""
    reply = await fw.ask(question, session_id=session_id)
    assert (reply.text, reply.saved.outcome) == (answer, outcome)
    return await fw.sessions.require(reply.session_id)


async def call(server: Connection, session_id: str, question: str, answer: str, outcome: str = "stored") -> None:
    """The same over MCP; with an empty ``outcome`` where Redis may just be coming back."""
    reply = await server.call("run_flow", question=question, session_id=session_id)
    assert reply["response"] == answer
    assert reply["saved"]["outcome"] in ([outcome] if outcome else ["stored", "journalled"])


async def execution_of(fw: Flywheel, turn_id: str) -> Execution:
    execution = await fw.sessions.load_execution(turn_id)
    assert execution is not None
    return execution


async def killed_while_it_runs(fw: Flywheel, session_id: str, product: Product) -> str:
    """Let the flow server be killed in the middle of a turn: the turn's id."""
    async with callers() as port:
        running = asyncio.create_task(fw.ask(port.question, session_id=session_id))
        await port.first.wait()
        product.kill()
        with pytest.raises(FlowUnsettled, match=r"^flow 'counter': .* may have run"):
            await running
    session = await fw.sessions.require(session_id)
    (turn_id,) = session.metadata["unsettled"]
    return str(turn_id)


async def until_it_keeps(fw: Flywheel, session_id: str, question: str) -> None:
    """Wait until the flow server has the answer to a question."""

    async def kept() -> bool:
        messages = await fw.flows.get("hasty").messages(session_id) or []
        return any(message.role == "assistant" and question in message.text for message in messages)

    await until(kept)


async def until_it_is_told(server: Connection, session_id: str, question: str, keeps: bool) -> None:
    """Wait until the session tells of a turn whose server was killed: as answered, or as interrupted."""

    async def told() -> bool:
        view = await server.call("resume_session", session_id=session_id)
        if keeps:
            return bool(view["turns"] == 2 and view["interrupted"] is None)
        return question in (view["interrupted"] or "")

    await until(told)


async def on_record(settings: Path, session_id: str, questions: list[str]) -> None:
    """See with a flywheel of its own that these turns, in this order, and their executions are in Redis."""
    async with Flywheel.from_config(settings) as fw:
        await until_replayed(fw.sessions)
        loaded = await fw.sessions.load(session_id)
        assert not loaded.behind
        session = loaded.need()
        assert [turn.question for turn in session.history] == questions
        executions = [await execution_of(fw, str(turn.id)) for turn in session.history]
    assert [execution.status for execution in executions] == ["completed"] * len(questions)
    assert [execution.text for execution in executions] == [turn.response for turn in session.history]
    assert [execution.session_id for execution in executions] == [session_id] * len(questions)
