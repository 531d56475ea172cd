"""A request that is sent again is not run again, and a turn that a crash interrupted is told of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .conftest import Serve


class Callers:
    """A port that the flow `wait` calls; it answers nobody until it is told to hang up."""

    def __init__(self) -> None:
        self.count = 0
        self.first = asyncio.Event()
        self.gone = asyncio.Event()
        self._hang_up = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a caller and keep it waiting, until it is gone."""
        self.count += 1
        self.first.set()
        waiting = asyncio.create_task(self._hang_up.wait())
        await asyncio.wait((waiting, asyncio.create_task(reader.read())), return_when=asyncio.FIRST_COMPLETED)
        self.gone.set()
        writer.close()

    def hang_up(self) -> None:
        """Let everybody go who waits, and who will call."""
        self._hang_up.set()


@asynccontextmanager
async def callers() -> AsyncIterator[tuple[Callers, str]]:
    """The port's callers, and the question that makes the flow `wait` call it."""
    taken = Callers()
    listening = await asyncio.start_server(taken.take, "127.0.0.1", 0)
    try:
        yield taken, str(listening.sockets[0].getsockname()[1])
    finally:
        taken.hang_up()
        listening.close()


async def test_a_request_that_is_sent_again_gets_its_answer(serve: Serve) -> None:
    """With the same request_key, also on another server after the first was killed, it is one turn."""
    async with serve() as first:
        session_id = (await first.call("create_session"))["session_id"]
        request = {"session_id": session_id, "question": "remember a: 1", "request_key": "r1"}
        answered = await first.call("run_flow", **request)
        first.kill()
    async with serve() as second:
        again = await second.call("run_flow", **request)
        view = await second.call("resume_session", session_id=session_id)
    assert (again["response"], again["turn_id"]) == (answered["response"], answered["turn_id"])
    assert (answered["repeated"], again["repeated"], view["turns"]) == (False, True, 1)


async def test_the_same_question_while_it_runs_waits_for_the_first(serve: Serve) -> None:
    """Sent to another server while the first still runs it, the flow is called once, and both get the answer."""
    async with serve() as first, serve() as second, callers() as (taken, question):
        session_id = (await first.call("create_session"))["session_id"]
        request = {"session_id": session_id, "question": question, "flow_id": "wait"}
        running = asyncio.create_task(first.call("run_flow", **request))
        await taken.first.wait()
        waiting = asyncio.create_task(second.call("run_flow", **request))
        for _ in range(5):  # later calls ask the same store: by then the question has asked it, too
            await second.call("resume_session", session_id=session_id)
        taken.hang_up()
        answers = [await running, await waiting]
        view = await first.call("resume_session", session_id=session_id)
    assert [answer["response"] for answer in answers] == ["nobody waits any more"] * 2
    assert answers[0]["turn_id"] == answers[1]["turn_id"]
    assert (taken.count, view["turns"]) == (1, 1)


async def test_a_turn_that_a_crash_interrupted_is_told_of(serve: Serve) -> None:
    """The next server says which question was not answered, in tool and prompt, and does not run it again."""
    async with callers() as (taken, question):
        async with serve() as first:
            session_id = (await first.call("run_flow", question="remember a: 1"))["session_id"]
            request = {"session_id": session_id, "question": question, "flow_id": "wait"}
            running = asyncio.create_task(first.call("run_flow", **request))
            await taken.first.wait()
            first.kill()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        async with serve() as second:
            view = await second.call("resume_session", session_id=session_id)
            (message,) = (await second.client.get_prompt("continue", {"session_id": session_id})).messages
            after = await second.call("run_flow", session_id=session_id, question="Which a?", flow_id="recap")
            resumed = await second.call("resume_session", session_id=session_id)
    assert question in view["interrupted"]
    assert "in flow wait; not answered" in view["interrupted"]
    assert "not answered" in str(message.content)
    assert "a is 1" in after["response"]
    assert (resumed["interrupted"], resumed["turns"], taken.count) == (None, 2, 1)
