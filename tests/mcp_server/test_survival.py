"""A conversation goes on where it was: after SIGKILL, on another server, with and without its handle."""

from agentic_flywheel.mcp_server.client import Connection

from .conftest import Serve


async def ask(server: Connection, session_id: str, question: str) -> str:
    reply = await server.call("run_flow", question=question, session_id=session_id)
    assert reply["saved"]["outcome"] == "stored"
    return str(reply["response"])


async def test_a_killed_server_loses_nothing_that_it_answered(serve: Serve) -> None:
    """Context, turns and executions are there for the next server, which can answer from them."""
    async with serve() as first:
        begun = await first.call("run_flow", question="remember colour: blue")
        session_id = begun["session_id"]
        await ask(first, session_id, "remember size: seven")
        first.kill()
    async with serve() as second:
        view = await second.call("resume_session", session_id=session_id)
        execution = await second.call("get_execution", execution_id=begun["turn_id"])
        answer = await ask(second, session_id, "Which colour?")
    assert view["context"] == {"colour": "blue", "size": "seven"}
    assert [turn["question"] for turn in view["last_turns"]] == ["remember colour: blue", "remember size: seven"]
    assert view["turns"] == 2
    assert execution["status"] == "completed"
    assert execution["output"]["text"] == "Noted: colour is blue."
    assert "blue" in answer


async def test_without_a_handle_the_session_used_last_is_resumed(serve: Serve) -> None:
    """Used last, not created last."""
    async with serve() as first:
        older = (await first.call("create_session", title="older"))["session_id"]
        newer = (await first.call("create_session", title="newer"))["session_id"]
        await ask(first, older, "remember x: 1")
        first.kill()
    async with serve() as second:
        assert (await second.call("resume_session"))["session_id"] == older
        await second.call("record_turn", session_id=newer, question="and now?", response="this one")
        assert (await second.call("resume_session"))["session_id"] == newer
        await second.call("update_context", session_id=older, set={"y": 2})
        assert (await second.call("resume_session"))["session_id"] == older


async def test_two_servers_on_one_store_continue_one_conversation_in_turn(serve: Serve) -> None:
    """Any request may land on any server: each of them knows all that was said."""
    async with serve() as first, serve() as second:
        session_id = (await first.call("create_session"))["session_id"]
        for number, server in enumerate([first, second, first, second]):
            await ask(server, session_id, f"remember key {number}: {number}")
        view = await first.call("resume_session", session_id=session_id)
        listed = await second.call("list_sessions")
    assert view["context"] == {f"key {number}": str(number) for number in range(4)}
    assert [turn["question"] for turn in view["last_turns"]] == [f"remember key {n}: {n}" for n in range(4)]
    assert [(line["session_id"], line["turns"]) for line in listed["sessions"]] == [(session_id, 4)]
