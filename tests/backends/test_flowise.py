"""Flows on a Flowise server, which answers and refuses as Flowise 3.1.4 was seen to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agentic_flywheel import UniversalSession
from agentic_flywheel.backends import Answer, Question, Replay, flowise_streams
from agentic_flywheel.backends.flowise import FlowiseFlow, discover
from agentic_flywheel.backends.http_server import FlowServer
from agentic_flywheel.errors import ConfigError, FlowFailed, FlowUnsettled
from tests.backends.conftest import Connect
from tests.support.flow_servers import KEY, FlowiseServer, Once, Slow, half, saying
from tests.support.flow_servers.flowise import AGENT, COUNTER, LOCKED, MODEL, UNKNOWN, Chatflow


@pytest.fixture
def session() -> UniversalSession:
    return UniversalSession(backend="flowise", backend_session_id="talk-1")


@pytest.fixture
def counter(flowise: FlowiseServer, connect: Connect) -> FlowiseFlow:
    return FlowiseFlow("csv2507", connect(flowise), COUNTER)


async def turn(flow: FlowiseFlow, session: UniversalSession, text: str, **options: Any) -> Answer:
    """Ask, and record the turn, as a conversation does."""
    answer = await flow.ask(Question(text, session, **options))
    session.record(question=text, response=answer.text, flow_id=flow.id)
    return answer


def sent(server: FlowiseServer) -> list[dict[str, Any]]:
    """The questions that the server got."""
    return [json.loads(each.body) for each in server.runs()]


class TestAsking:
    """A question, and its answer."""

    async def test_a_conversation_goes_on_under_the_id_that_it_has_at_the_server(
        self, flowise: FlowiseServer, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        assert (await turn(counter, session, "hello")).text == "turn 1: hello"
        assert (await turn(counter, session, "again")).text == "turn 2: again"
        assert {each["overrideConfig"]["sessionId"] for each in sent(flowise)} == {"talk-1"}

    async def test_a_session_without_such_an_id_goes_by_its_own(
        self, flowise: FlowiseServer, counter: FlowiseFlow
    ) -> None:
        session = UniversalSession(backend="flowise", id="ours")
        await turn(counter, session, "hello")
        assert sent(flowise)[0]["overrideConfig"] == {"sessionId": "ours"}

    async def test_the_whole_reply_is_the_output(self, counter: FlowiseFlow, session: UniversalSession) -> None:
        output = (await turn(counter, session, "hello")).output
        assert output["question"] == "hello"
        assert output["sessionId"] == output["chatId"] == "talk-1"
        assert output["memoryType"] == "Buffer Memory"

    async def test_the_key_goes_into_its_header_and_nowhere_else(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        await turn(FlowiseFlow("locked", connect(flowise), LOCKED), session, "hello")
        for each in flowise.asked:
            assert each.headers["authorization"] == f"Bearer {KEY}"
            assert KEY not in each.path + str(each.query) + each.body.decode()

    async def test_a_flow_that_wants_no_key_is_asked_without_one(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        flow = FlowiseFlow("csv2507", connect(flowise, key=None), COUNTER)
        assert (await turn(flow, session, "hello")).text == "turn 1: hello"
        assert "authorization" not in flowise.asked[0].headers

    async def test_structured_output_is_told_as_json(
        self, flowise: FlowiseServer, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        """A structured output parser makes Flowise answer with ``json`` in the place of ``text``."""
        flowise.fault = saying(200, {"json": {"name": "Ada"}, "sessionId": "talk-1"})
        assert (await turn(counter, session, "who?")).text == '{"name":"Ada"}'

    async def test_connections_are_used_again(
        self, flowise: FlowiseServer, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        for _ in range(3):
            await turn(counter, session, "hello")
        assert len({each.client for each in flowise.asked}) == 1


class TestParameters:
    """What goes along with a question."""

    async def test_those_of_the_settings_and_of_the_call(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """The call's own win, entry by entry; fields of the request are not mixed up with entries."""
        configured = {"temperature": 0.2, "vars": {"tone": "kind", "lang": "en"}}
        flow = FlowiseFlow("csv2507", connect(flowise), COUNTER, parameters=configured)
        upload = {"data": "data:text/plain;base64,aGVsbG8=", "type": "file", "name": "x.txt", "mime": "text/plain"}
        await turn(
            flow,
            session,
            "hello",
            parameters={"vars": {"lang": "fr"}, "uploads": [upload], "overrideConfig": {"topK": 3}},
        )
        assert sent(flowise)[0] == {
            "question": "hello",
            "streaming": False,
            "uploads": [upload],
            "overrideConfig": {
                "temperature": 0.2,
                "topK": 3,
                "vars": {"tone": "kind", "lang": "fr"},
                "sessionId": "talk-1",
            },
        }

    async def test_one_call_leaves_the_next_one_alone(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        flow = FlowiseFlow("csv2507", connect(flowise), COUNTER, parameters={"vars": {"lang": "en"}})
        await turn(flow, session, "hello", parameters={"vars": {"lang": "fr", "more": 1}})
        await turn(flow, session, "hello")
        assert sent(flowise)[1]["overrideConfig"] == {"vars": {"lang": "en"}, "sessionId": "talk-1"}

    async def test_they_change_what_the_flow_does(self, counter: FlowiseFlow, session: UniversalSession) -> None:
        word = {"functionInputVariables": {"customFunction_0": {"word": "TURN"}}}
        assert (await turn(counter, session, "hello", parameters=word)).text == "TURN 1: hello"
        tone = {"vars": {"tone": "kind", "other": "x"}}
        assert (await turn(counter, session, "again", parameters=tone)).text == "turn 2: again (kind)"

    async def test_files(
        self, flowise: FlowiseServer, connect: Connect, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        """They are kept with the question; one that goes along whole stands before it; a wrong one is refused."""
        file = {"data": "data:text/plain;base64,aGVsbG8=", "type": "file", "name": "x.txt", "mime": "text/plain"}
        await turn(counter, session, "hello", parameters={"uploads": [file]})
        assert flowise.messages[0]["fileUploads"] == [
            {"type": "stored-file", "name": "x.txt", "mime": "text/plain"}
        ]
        whole = {"type": "file:full", "name": "x.txt", "data": "all of it"}
        for flow, text in (
            (counter, "turn 2: x"),
            (FlowiseFlow("a", connect(flowise), AGENT), "turn 1: <doc name="),
        ):
            assert (await turn(flow, session, "x", parameters={"uploads": [whole]})).text.startswith(text)
        assert [each.text for each in await counter.messages("talk-1") if each.role == "user"] == ["hello", "x"]
        with pytest.raises(FlowFailed, match=r"flow 'csv2507' failed on .*MIME type mismatch: file extension"):
            await turn(counter, session, "y", parameters={"uploads": [{**file, "name": "x.png"}]})

    @pytest.mark.parametrize(
        ("parameters", "named"),
        [
            ({"sessionId": "another"}, "sessionId"),
            ({"overrideConfig": {"sessionId": "another"}}, "sessionId"),
            ({"history": []}, "history"),
            ({"overrideConfig": "text"}, "overrideConfig"),
            ({"vars": '{"tone": "kind"}'}, "vars"),
            ({"overrideConfig": {"vars": ["tone"]}}, "vars"),
            ({"uploads": "x.txt"}, "uploads"),
            ({"uploads": ["x.txt"]}, "uploads"),
        ],
    )
    async def test_what_is_no_parameter(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession, parameters: Any, named: str
    ) -> None:
        """What says which conversation it is, and what Flowise would swallow; in a call and in the settings."""
        server = connect(flowise)
        with pytest.raises(FlowFailed, match=f"flow 'csv2507' was not asked: parameters: {named} is"):
            await turn(FlowiseFlow("csv2507", server, COUNTER), session, "hello", parameters=parameters)
        with pytest.raises(ConfigError, match=f"flows.csv2507.parameters: {named} is"):
            FlowiseFlow("csv2507", server, COUNTER, parameters=parameters)
        assert not flowise.asked

    async def test_what_json_cannot_hold(
        self, flowise: FlowiseServer, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        with pytest.raises(FlowFailed, match="flow 'csv2507' was not asked: its parameters cannot be sent"):
            await turn(counter, session, "hello", parameters={"vars": {"what": object()}})
        assert not flowise.asked


class TestStreaming:
    """An answer that is read as it is made."""

    @pytest.mark.parametrize(
        ("chatflow", "pieces"), [(MODEL, ["turn ", "1: ", "hello ", "there"]), (AGENT, ["turn 1: hello there"])]
    )
    async def test_each_piece_is_told_and_the_answer_is_the_same(
        self, flowise: FlowiseServer, connect: Connect, chatflow: str, pieces: list[str]
    ) -> None:
        """Chatflows and agentflows. The output has the fields that it has without streaming, if they come."""
        server, told = connect(flowise), list[str]()
        flow = FlowiseFlow("f", server, chatflow, stream=True)
        streamed = await turn(flow, UniversalSession(backend="flowise"), "hello there", on_text=told.append)
        plain = await turn(FlowiseFlow("f", server, chatflow), UniversalSession(backend="flowise"), "hello there")
        assert told == pieces
        assert streamed.text == plain.text == "".join(pieces)
        assert streamed.output["text"] == plain.output["text"]
        assert set(plain.output) - set(streamed.output) <= {"isStreamValid", "executionId"}

    async def test_a_flow_that_cannot_stream_is_not_asked_to(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """Flowise would never tell that such a flow failed. It is asked once whether the flow streams."""
        flow, told = FlowiseFlow("f", connect(flowise), COUNTER, stream=True), list[str]()
        assert (await turn(flow, session, "hello", on_text=told.append)).text == "turn 1: hello"
        with pytest.raises(FlowFailed, match="the flow broke on purpose"):
            await turn(flow, session, "boom", on_text=told.append)
        assert [each["streaming"] for each in sent(flowise)] == [False, False]
        assert sum("chatflows-streaming" in each.path for each in flowise.asked) == 1

    async def test_an_unknown_flow_is_told_of_at_once(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """Flowise would not answer if it were asked to stream one."""
        flow = FlowiseFlow("f", connect(flowise), UNKNOWN, stream=True)
        with pytest.raises(FlowFailed, match="not found in the database"):
            await turn(flow, session, "hello", on_text=print)

    async def test_a_flow_that_is_deleted_meanwhile(
        self,
        flowise: FlowiseServer,
        connect: Connect,
        session: UniversalSession,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Flowise never answers then. So it is looked for when nothing is heard for a while."""
        monkeypatch.setattr(flowise_streams, "SILENT_SECONDS", 0.05)
        flow = FlowiseFlow("f", connect(flowise), MODEL, stream=True)
        flowise.fault = Slow(0.2)
        assert (await turn(flow, session, "hello", on_text=print)).text == "turn 1: hello"
        flowise.fault = None
        flows, flowise.flows = flowise.flows, []
        with pytest.raises(FlowFailed, match=r"flow 'f': server 'studio' at .* has no such flow \(404\)") as caught:
            await turn(flow, session, "again", on_text=print)
        assert not isinstance(caught.value, FlowUnsettled)
        flowise.flows = flows
        assert (await turn(flow, session, "again", on_text=print)).text == "turn 2: again"

    async def test_nobody_looks_for_a_flow_that_begins_to_answer(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        flow = FlowiseFlow("f", connect(flowise), MODEL, stream=True)
        for text in ("one", "two", "three"):
            await turn(flow, session, text, on_text=print)
        assert [each.method for each in flowise.asked] == ["GET", "POST", "POST", "POST"]

    async def test_a_stream_that_was_given_up(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """The flow may have become one that cannot stream: that is asked anew, before the next question."""
        flow = FlowiseFlow("f", connect(flowise), MODEL, stream=True)
        await turn(flow, session, "hello", on_text=print)
        flowise.flows = [Chatflow(MODEL, "model")]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await turn(flow, session, "boom", on_text=print)
        with pytest.raises(FlowFailed, match="broke on purpose"):
            await turn(flow, session, "boom", on_text=print)

    async def test_nothing_is_streamed_where_nobody_listens(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        await turn(FlowiseFlow("f", connect(flowise), MODEL, stream=True), session, "hello")
        assert sent(flowise)[0]["streaming"] is False

    async def test_an_error_in_the_stream(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """The flow failed, and that is certain, although the status was 200."""
        flow = FlowiseFlow("f", connect(flowise), AGENT, stream=True)
        with pytest.raises(FlowFailed, match=r"flow 'f' failed on server 'studio'.*broke on purpose") as caught:
            await turn(flow, session, "boom", on_text=print)
        assert not isinstance(caught.value, FlowUnsettled)


class TestMessages:
    """What Flowise has of a conversation."""

    async def test_they_are_read_back(self, counter: FlowiseFlow, session: UniversalSession) -> None:
        """Oldest first, those of this conversation, with the moments that Flowise gives."""
        await turn(counter, session, "hello")
        await turn(counter, UniversalSession(backend="flowise"), "elsewhere")
        messages = await counter.messages("talk-1")
        assert [(each.role, each.text) for each in messages] == [("user", "hello"), ("assistant", "turn 1: hello")]
        assert all(each.timestamp and each.timestamp.endswith("Z") for each in messages)
        assert await counter.messages("unheard of") == []

    @pytest.mark.parametrize("conversation", ["a b", "a/b", "a%20b", "a+b", "Zoë", "a&order=DESC"])
    async def test_ids_of_any_form(self, counter: FlowiseFlow, conversation: str) -> None:
        await turn(counter, UniversalSession(backend="flowise", backend_session_id=conversation), "hello")
        assert len(await counter.messages(conversation)) == 2

    async def test_the_newest_of_very_many(
        self, flowise: FlowiseServer, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        """Flowise gives all that it has; so much of it is read that there are enough, however long it is."""
        await turn(counter, session, "hello")
        flowise.messages[1]["content"] = "x" * 17 * 1024**2
        for number in range(3):
            await turn(counter, session, f"question {number}")
        messages = await counter.messages("talk-1")
        assert [each.text for each in messages if each.role == "user"] == ["question 0", "question 1", "question 2"]
        flowise.messages[2:2] = [{**flowise.messages[0], "content": "y" * 10_000} for _ in range(100)]
        assert len(await counter.messages("talk-1", newest=10)) == 10

    async def test_those_since_a_moment(self, counter: FlowiseFlow, session: UniversalSession) -> None:
        """Where there are none since then, there may be some from before, which are not lost."""
        await turn(counter, session, "hello")
        begun = str(session.history[0].timestamp)
        assert len(await counter.messages("talk-1", since=begun[:19] + "Z")) == 2
        assert len(await counter.messages("talk-1", since="3000-01-01T00:00:00Z")) == 2

    async def test_a_key_that_does_not_open_them(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """Flows may be public where their messages are not."""
        flow = FlowiseFlow("f", connect(flowise, key="wrong"), COUNTER)
        await turn(flow, session, "hello")
        with pytest.raises(FlowFailed, match=r"flow 'f': server 'studio' at .* refuses the key \(401: Unauth"):
            await flow.messages("talk-1")


class TestTellingAgain:
    """What Flowise lacks goes along with a question."""

    async def test_what_goes_along_has_the_form_that_flowise_takes(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """So the flow sees it, in its roles."""
        session.record(question="I am Ada", response="Hello Ada", flow_id="elsewhere")
        flow = FlowiseFlow("f", connect(flowise), COUNTER)
        answer = await turn(flow, session, "what did I say?", replay=Replay.of_all(list(session.history)))
        assert answer.text == "Human: I am Ada\nAssistant: Hello Ada"
        assert sent(flowise)[0]["history"] == [
            {"role": "userMessage", "content": "I am Ada"},
            {"role": "apiMessage", "content": "Hello Ada"},
        ]

    async def test_turns_that_others_wrote(self, flowise: FlowiseServer, counter: FlowiseFlow) -> None:
        """A turn may be one message, or hold something else than texts; what it has goes along."""
        foreign = [{"role": "human", "content": "hi"}, {"role": "ai", "content": "ho"}, {"question": {"a": 1}}]
        session = UniversalSession.from_dict({"backend": "flowise", "history": foreign})
        await turn(counter, session, "hello", replay=Replay.of_all(list(session.history)))
        assert sent(flowise)[0]["history"] == [
            {"role": "userMessage", "content": "hi"},
            {"role": "apiMessage", "content": "ho"},
            {"role": "userMessage", "content": '{"a":1}'},
        ]

    async def test_what_comes_after_something_that_flowise_has(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """It stands before the question: as history, Flowise would put it before all that it has."""
        for number in range(3):
            session.record(question=f"question {number}", response=f"answer {number}", flow_id="f")
        flow = FlowiseFlow("f", connect(flowise), COUNTER)
        await turn(flow, session, "now", replay=Replay(list(session.history), first=1, last=1))
        (body,) = sent(flowise)
        assert [each["content"] for each in body["history"]] == ["question 0", "answer 0"]
        assert body["question"].splitlines() == [
            "[What was said earlier in this conversation:]",
            "User: question 1",
            "Assistant: answer 1",
            "User: question 2",
            "Assistant: answer 2",
            "[End of what was said earlier. Now:]",
            "now",
        ]
        (asked, _) = await flow.messages("talk-1")
        assert asked.text == "now"
        assert "Assistant: answer 2" in asked.told

    async def test_half_an_emoji_goes_along(
        self, flowise: FlowiseServer, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        """A text that UTF-8 cannot carry is neither a reason to fail nor to leave its turn out."""
        session.record(question="half of it: \ud83d", response="yes", flow_id="f")
        await turn(counter, session, "a", replay=Replay.of_all(list(session.history)))
        assert [each["content"] for each in sent(flowise)[0]["history"]] == ["half of it: \ud83d", "yes"]


class TestRetries:
    """A question that may have been answered is sent again only if the settings allow that."""

    async def test_by_default_it_is_not_sent_again(
        self, flowise: FlowiseServer, counter: FlowiseFlow, session: UniversalSession
    ) -> None:
        flowise.fault = half
        with pytest.raises(FlowUnsettled, match=r"flow 'csv2507': the answer of server 'studio' .* was cut off"):
            await turn(counter, session, "hello")
        assert len(flowise.runs()) == 1

    async def test_an_idempotent_flow_is_asked_once_more(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        flow = FlowiseFlow("f", connect(flowise), COUNTER, idempotent=True)
        flowise.fault = Once(half)
        assert (await turn(flow, session, "hello")).text == "turn 2: hello"
        flowise.fault = half
        with pytest.raises(FlowUnsettled):
            await turn(flow, session, "again")
        assert len(flowise.runs()) == 4

    async def test_but_not_when_a_part_of_the_answer_was_told(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """The listener would hear it twice."""
        flow, told = FlowiseFlow("f", connect(flowise), MODEL, idempotent=True, stream=True), list[str]()
        flowise.fault = half
        with pytest.raises(FlowUnsettled):
            await turn(flow, session, "a question of some length", on_text=told.append)
        assert told
        assert len(flowise.runs()) == 1

    async def test_a_failure_is_none(
        self, flowise: FlowiseServer, connect: Connect, session: UniversalSession
    ) -> None:
        """A flow that failed for sure is not asked again."""
        flow = FlowiseFlow("f", connect(flowise), COUNTER, idempotent=True)
        with pytest.raises(FlowFailed):
            await turn(flow, session, "boom")
        assert len(flowise.runs()) == 1


class TestLooking:
    """What Flowise is asked besides questions."""

    async def test_discovery(self, flowise: FlowiseServer, connect: Connect) -> None:
        """All flows are found, also where they come in more than one page."""
        flowise.flows += [
            Chatflow(f"{number:08}-0000-4000-8000-000000000000", f"more {number}") for number in range(60)
        ]
        found = await discover(connect(flowise))
        assert [(each.flow, each.name) for each in found[:2]] == [(COUNTER, "counter"), (AGENT, "agent")]
        assert len(found) == len({each.flow for each in found}) == 65

    async def test_discovery_with_a_wrong_key(self, flowise: FlowiseServer, connect: Connect) -> None:
        with pytest.raises(FlowFailed, match=r"discovery: server 'studio' .* refuses the key .*studio\.key_env"):
            await discover(connect(flowise, key="wrong"))

    async def test_check(self, flowise: FlowiseServer, connect: Connect, counter: FlowiseFlow) -> None:
        """It does not run the flow, and tells of a flow that is not there, and of a key that is not taken."""
        assert await counter.check() == f"counter on {flowise.url}"
        for server, flow, problem in (
            (connect(flowise), UNKNOWN, "has no such flow (404"),
            (connect(flowise), "nonsense", "Invalid Chatflow ID"),
            (connect(flowise, key="wrong"), COUNTER, "refuses the key (401"),
        ):
            with pytest.raises(FlowFailed) as caught:
                await FlowiseFlow("f", server, flow).check()
            assert problem in str(caught.value)
        assert not flowise.runs()


async def test_each_event_loop_has_connections_of_its_own(flowise: FlowiseServer) -> None:
    """A server may be used from one event loop after another, and from two at once."""
    server = FlowServer("studio", flowise.url, key=KEY)
    flow = FlowiseFlow("f", server, COUNTER)

    async def ask_and_close(text: str) -> str:
        try:
            return (await flow.ask(Question(text, UniversalSession(backend="flowise")))).text
        finally:
            await flow.close()

    for text in ("one", "two"):
        assert await asyncio.to_thread(asyncio.run, ask_and_close(text)) == f"turn 1: {text}"
        assert await ask_and_close(text) == f"turn 1: {text}"
