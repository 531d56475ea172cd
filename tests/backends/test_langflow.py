"""Flows on Langflow and on ``lfx serve``, which answer and refuse as version 1.13.0 was seen to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

import pytest

from agentic_flywheel import UniversalSession
from agentic_flywheel.backends import Answer, Question, Replay
from agentic_flywheel.backends.langflow import LangflowFlow, discover
from agentic_flywheel.errors import ConfigError, FlowFailed, FlowUnsettled
from tests.backends.conftest import Connect
from tests.support.flow_servers import KEY, LangflowServer, LfxServer, ServedFlows, half, saying
from tests.support.flow_servers.langflow import COUNTS, SILENT, STREAMS, UNKNOWN
from tests.support.flow_servers.lfx import CHAT

Api = Literal["run", "workflow"]


@pytest.fixture
def session() -> UniversalSession:
    return UniversalSession(backend="langflow", backend_session_id="talk-1")


@pytest.fixture(params=["run", "workflow"])
def api(request: pytest.FixtureRequest) -> Api:
    """Both ways in which Langflow is asked."""
    return request.param  # type: ignore[no-any-return]  # one of the two above


@pytest.fixture
def counts(langflow: LangflowServer, connect: Connect, api: Api) -> LangflowFlow:
    return LangflowFlow("notes", connect(langflow), COUNTS, api=api)


@pytest.fixture
def heard(lfx: LfxServer, connect: Connect) -> LangflowFlow:
    return LangflowFlow("notes", connect(lfx), CHAT, api="workflow")


async def turn(flow: LangflowFlow, session: UniversalSession, text: str, **options: Any) -> Answer:
    """Ask, and record the turn, as a conversation does."""
    answer = await flow.ask(await flow.remind(Question(text, session, **options)))
    session.record(question=text, response=answer.text, flow_id=flow.id)
    return answer


def whole(session: UniversalSession) -> Replay:
    """All turns, for a server that has none of them."""
    return Replay.of_all(list(session.history))


def sent(server: ServedFlows) -> list[dict[str, Any]]:
    """The questions that the server got, and the messages that were added."""
    return [json.loads(each.body) for each in server.runs()]


class TestAsking:
    """A question, and its answer."""

    async def test_a_conversation_goes_on_under_the_id_that_it_has_at_the_server(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession
    ) -> None:
        assert (await turn(counts, session, "hello")).text == "turn 1: hello"
        assert (await turn(counts, session, "again")).text == "turn 2: again"
        assert {each["session_id"] for each in sent(langflow)} == {"talk-1"}

    async def test_conversations_do_not_mix(self, counts: LangflowFlow) -> None:
        """Langflow would let all callers without a session id share one."""
        for _ in range(2):
            answer = await turn(counts, UniversalSession(backend="langflow"), "hello")
            assert answer.text == "turn 1: hello"

    async def test_the_whole_reply_is_the_output(
        self, counts: LangflowFlow, session: UniversalSession, api: Api
    ) -> None:
        output = (await turn(counts, session, "hello")).output
        assert output["session_id"] == "talk-1"
        assert ("status" in output) == (api == "workflow")

    async def test_the_key_goes_into_its_header_and_nowhere_else(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession
    ) -> None:
        await turn(counts, session, "hello")
        await counts.messages("talk-1")
        for each in langflow.asked:
            assert each.headers["x-api-key"] == KEY
            assert "authorization" not in each.headers
            assert KEY not in each.path + str(each.query) + each.body.decode()

    async def test_a_flow_by_its_name(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
    ) -> None:
        """An endpoint name will do where the server knows it, or where its id can be looked up."""
        flow = LangflowFlow("notes", connect(langflow), "counts-turns", api=api)
        assert (await turn(flow, session, "hello")).text == "turn 1: hello"
        assert len(await flow.messages("talk-1") or ()) == 2

    async def test_lfx(self, heard: LangflowFlow, session: UniversalSession) -> None:
        assert (await turn(heard, session, "hello")).text == "heard: hello"

    async def test_lfx_by_name(self, lfx: LfxServer, connect: Connect, session: UniversalSession) -> None:
        for name in ("chat", "chat.py"):
            flow = LangflowFlow("notes", connect(lfx), name, api="workflow")
            assert (await turn(flow, session, "hello")).text == "heard: hello"

    async def test_a_name_that_nobody_has(
        self, langflow: LangflowServer, lfx: LfxServer, connect: Connect, session: UniversalSession
    ) -> None:
        for server in (langflow, lfx):
            flow = LangflowFlow("notes", connect(server), "nobody", api="workflow")
            with pytest.raises(FlowFailed, match=r"flow 'notes': server 'studio' .* has no such flow"):
                await turn(flow, session, "hello")

    @pytest.mark.parametrize(
        ("outputs", "text"),
        [
            ({"a": {"content": "one"}, "b": {"content": "two"}}, "one\n\ntwo"),
            ({"a": {"content": {"x": 1}}, "b": {"content": "two"}}, "two"),
        ],
    )
    async def test_a_workflow_that_ends_in_several_places(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, outputs: Any, text: str
    ) -> None:
        """Langflow then names none of the outputs the answer; all texts together are."""
        langflow.fault = saying(200, {"output": {"text": None, "reason": "multiple"}, "outputs": outputs})
        flow = LangflowFlow("notes", connect(langflow), COUNTS, api="workflow")
        assert (await turn(flow, session, "hello")).text == text

    async def test_a_run_that_ends_in_several_places(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession
    ) -> None:
        ends = [
            {"results": {"message": {"text": "one"}}},
            {"results": {"data": {"data": {"text": "two"}}}},
            {"results": {"table": [1, 2]}},
            None,
        ]
        langflow.fault = saying(200, {"session_id": "talk-1", "outputs": [{"outputs": ends}]})
        answer = await turn(LangflowFlow("notes", connect(langflow), COUNTS), session, "hello")
        assert answer.text == "one\n\ntwo"


class TestParameters:
    """What goes along with a question."""

    async def test_tweaks_of_the_settings_and_of_the_call(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
    ) -> None:
        """The call's own win, field by field, whether they are called tweaks or not."""
        configured = {"Counter-flywh": {"word": "TURN", "size": 1}}
        flow = LangflowFlow("notes", connect(langflow), COUNTS, api=api, parameters=configured)
        assert (await turn(flow, session, "hello")).text == "TURN 1: hello"
        parameters = {"tweaks": {"Counter-flywh": {"word": "Turn"}}, "Other": {"a": 1}}
        assert (await turn(flow, session, "hello", parameters=parameters)).text == "Turn 2: hello"
        assert sent(langflow)[1]["tweaks"] == {"Counter-flywh": {"word": "Turn", "size": 1}, "Other": {"a": 1}}

    async def test_fields_of_the_request(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession
    ) -> None:
        server = connect(langflow)
        await turn(LangflowFlow("a", server, COUNTS), session, "x", parameters={"output_type": "any"})
        workflow = LangflowFlow("b", server, COUNTS, api="workflow")
        await turn(workflow, session, "x", parameters={"globals": {"A": "b"}})
        run, flow = sent(langflow)
        assert (run["output_type"], run["input_type"]) == ("any", "chat")
        assert flow["globals"] == {"A": "b"}
        assert "tweaks" not in run | flow

    @pytest.mark.parametrize("name", ["session_id", "input_value", "flow_id"])
    async def test_the_conversation_is_no_parameter(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession, name: str
    ) -> None:
        with pytest.raises(FlowFailed, match=f"flow 'notes' was not asked: parameters: {name} is no parameter"):
            await turn(counts, session, "hello", parameters={name: "another"})
        assert not langflow.asked

    @pytest.mark.parametrize(
        "parameters",
        [{"tweaks": "text"}, {"Counter": [1]}, {"Counter": None}, {"input_type": "voice"}, {"output_component": 7}],
    )
    async def test_what_langflow_would_not_understand(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, parameters: dict[str, Any]
    ) -> None:
        """It would run the flow all the same, without the question, and in a conversation that all share."""
        server = connect(langflow)
        with pytest.raises(FlowFailed, match="flow 'notes' was not asked: parameters: "):
            await turn(LangflowFlow("notes", server, COUNTS), session, "hello", parameters=parameters)
        with pytest.raises(ConfigError, match=r"flows\.notes\.parameters: "):
            LangflowFlow("notes", server, COUNTS, parameters=parameters)
        assert not langflow.asked

    async def test_a_run_outside_of_the_conversation_is_no_answer(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession
    ) -> None:
        """Should Langflow not understand us after all, its answer is not taken for one to the question."""
        langflow.fault = saying(200, {"session_id": COUNTS, "outputs": []})
        with pytest.raises(FlowFailed, match="ran the flow outside of this conversation"):
            await turn(LangflowFlow("notes", connect(langflow), COUNTS), session, "hello")

    async def test_lfx_takes_no_tweaks(self, heard: LangflowFlow, session: UniversalSession) -> None:
        """What it says about that is passed on."""
        with pytest.raises(FlowFailed, match=r"flow 'notes': .* refuses the question \(422: .*: tweaks"):
            await turn(heard, session, "hello", parameters={"Counter": {"word": "x"}})


class TestStreaming:
    """An answer that is read as it is made."""

    async def test_each_piece_is_told_and_the_answer_is_the_same(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
    ) -> None:
        server, told = connect(langflow), list[str]()
        flow = LangflowFlow("notes", server, STREAMS, api=api, stream=True)
        streamed = await turn(flow, session, "hello there", on_text=told.append)
        assert told == ["turn ", "1: ", "hello ", "there"]
        assert streamed.text == "turn 1: hello there"

    async def test_a_run_has_the_same_output(self, langflow: LangflowServer, connect: Connect) -> None:
        server, told = connect(langflow), list[str]()
        replies = [
            await turn(LangflowFlow("notes", server, COUNTS, stream=stream), each, "hello", on_text=told.append)
            for stream, each in ((True, UniversalSession(backend="x")), (False, UniversalSession(backend="x")))
        ]
        assert replies[0].text == replies[1].text
        assert replies[0].output.keys() == replies[1].output.keys()

    async def test_an_answer_in_one_piece(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
    ) -> None:
        """A flow that does not stream tells its answer at once."""
        told = list[str]()
        flow = LangflowFlow("notes", connect(langflow), COUNTS, api=api, stream=True)
        assert (await turn(flow, session, "hello", on_text=told.append)).text == "turn 1: hello"
        assert told == ["turn 1: hello"]

    async def test_lfx(self, lfx: LfxServer, connect: Connect, session: UniversalSession) -> None:
        """It does not tell its outputs apart; the last message is the answer."""
        told = list[str]()
        flow = LangflowFlow("notes", connect(lfx), CHAT, api="workflow", stream=True)
        assert (await turn(flow, session, "hello", on_text=told.append)).text == "heard: hello"
        assert told == ["heard: hello"]

    async def test_nothing_is_streamed_where_nobody_listens(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
    ) -> None:
        await turn(LangflowFlow("notes", connect(langflow), STREAMS, api=api, stream=True), session, "hello")
        asked = langflow.runs()[0]
        assert "stream" not in asked.query
        assert json.loads(asked.body).get("mode", "sync") == "sync"

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_flow_that_throws(
        self,
        langflow: LangflowServer,
        lfx: LfxServer,
        connect: Connect,
        session: UniversalSession,
        api: Api,
        stream: bool,
    ) -> None:
        """Each way of asking tells of it in its own form. What the flow said is passed on, and it is certain."""
        flows = [LangflowFlow("notes", connect(langflow), COUNTS, api=api, stream=stream)]
        if api == "workflow":
            flows.append(LangflowFlow("notes", connect(lfx), CHAT, api=api, stream=stream))
        for flow in flows:
            with pytest.raises(
                FlowFailed, match=r"flow 'notes' failed on server .*the flow broke on purpose"
            ) as caught:
                await turn(flow, session, "boom", on_text=print)
            assert not isinstance(caught.value, FlowUnsettled)


class TestMessages:
    """What Langflow has of a conversation."""

    @pytest.mark.parametrize("sender", ["Counter", "Machine"])
    async def test_they_are_read_back(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession, sender: str
    ) -> None:
        """Oldest first, without what components say of themselves, under whatever name."""
        await turn(counts, session, "hello")
        with pytest.raises(FlowFailed):
            await turn(counts, session, "boom")
        langflow.messages[-1]["sender"] = sender
        messages = await counts.messages("talk-1") or []
        assert [(each.role, each.text) for each in messages] == [
            ("user", "hello"),
            ("assistant", "turn 1: hello"),
            ("user", "boom"),
        ]
        assert all(each.timestamp for each in messages)
        assert await counts.messages("unheard of") == []

    async def test_the_newest_of_many(self, langflow: LangflowServer, connect: Connect) -> None:
        """Langflow gives no more than 200; they are the newest."""
        flow = LangflowFlow("notes", connect(langflow), COUNTS)
        session = UniversalSession(backend="langflow", backend_session_id="long")
        for number in range(110):
            await turn(flow, session, f"question {number}")
        messages = await flow.messages("long") or []
        assert len(messages) == 200
        assert messages[-1].text == "turn 110: question 109"

    @pytest.mark.parametrize("conversation", ["a b", "a/b", "a%20b", "a%2520b", "a+b", "Zoë", "a&limit=1"])
    async def test_ids_of_any_form(self, counts: LangflowFlow, conversation: str) -> None:
        """Langflow decodes an id twice."""
        session = UniversalSession(backend="langflow", backend_session_id=conversation)
        await turn(counts, session, "hello")
        assert len(await counts.messages(conversation) or ()) == 2

    async def test_lfx_keeps_none(self, heard: LangflowFlow, session: UniversalSession) -> None:
        await turn(heard, session, "hello")
        assert await heard.messages("talk-1") is None


class TestTellingAgain:
    """What Langflow lacks is told again."""

    async def test_it_is_added_to_its_messages(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession
    ) -> None:
        """So the flow sees it, in its roles; and it is there for all further questions."""
        for number in (1, 2):
            await turn(counts, session, f"question {number}")
        langflow.restart(empty=True)
        assert (await turn(counts, session, "after", replay=whole(session))).text == "turn 3: after"
        assert (await turn(counts, session, "later")).text == "turn 4: later"
        told = (await turn(counts, session, "what did I say?")).text
        assert told.startswith("User: question 1 / Machine: turn 1: question 1 / User: question 2 / ")

    async def test_what_langflow_has_the_question_of(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession
    ) -> None:
        """Where a telling broke off, it is completed."""
        for number in (1, 2):
            await turn(counts, session, f"question {number}")
        del langflow.messages[1:]
        await turn(counts, session, "after", replay=Replay(list(session.history), 2, 2, begun=True))
        assert [each["text"] for each in langflow.messages[:4]] == [
            "question 1",
            "turn 1: question 1",
            "question 2",
            "turn 2: question 2",
        ]

    async def test_what_comes_before_something_that_langflow_has(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession
    ) -> None:
        """It stands before the question: messages that are added now would come after those."""
        for number in (1, 2):
            await turn(counts, session, f"question {number}")
        del langflow.messages[:2]
        await turn(counts, session, "after", replay=Replay(session.history[:1], 1, 0))
        assert len(langflow.messages) == 4
        messages = await counts.messages("talk-1") or []
        assert messages[2].text == "after"
        assert messages[2].told.endswith("User: question 1\nAssistant: turn 1: question 1")

    async def test_an_endpoint_name_that_leads_to_another_flow_by_now(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
    ) -> None:
        """A new server may know the flow under another id."""
        flow = LangflowFlow("notes", connect(langflow), "counts-turns", api=api)
        await turn(flow, session, "hello")
        langflow.flows[0] = replace(langflow.flows[0], id="9f9e1b77-be99-4cbf-9790-c6006910aea0")
        langflow.restart(empty=True)
        assert (await turn(flow, session, "after", replay=whole(session))).text == "turn 2: after"

    async def test_a_flow_that_takes_no_messages_is_told_before_the_question(
        self, langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
    ) -> None:
        session.record(question="I am Ada", response="Hello Ada", flow_id="notes")
        flow = LangflowFlow("notes", connect(langflow), SILENT, api=api)
        answer = await turn(flow, session, "who am I?", replay=whole(session))
        assert answer.text.removeprefix("heard: ").splitlines() == [
            "[What was said earlier in this conversation:]",
            "User: I am Ada",
            "Assistant: Hello Ada",
            "[End of what was said earlier. Now:]",
            "who am I?",
        ]

    async def test_lfx_keeps_nothing(self, lfx: LfxServer, heard: LangflowFlow, session: UniversalSession) -> None:
        """That is found out once."""
        for _ in range(3):
            answer = await turn(heard, session, "again", replay=whole(session) if len(session.history) else None)
            assert await heard.messages("talk-1") is None
        assert "User: again" in answer.text
        assert sum("monitor" in each.path for each in lfx.asked) == 1

    async def test_an_lfx_that_became_a_langflow(
        self, lfx: LfxServer, langflow: LangflowServer, connect: Connect, session: UniversalSession
    ) -> None:
        """What was found out about a server holds as long as it is there."""
        flow = LangflowFlow("notes", connect(lfx), CHAT, api="workflow")
        await turn(flow, session, "hello")
        assert await flow.messages("talk-1") is None
        lfx.kill()
        langflow.kill()
        langflow.port = lfx.port
        langflow.flows[0] = replace(langflow.flows[0], id=CHAT)
        langflow.start()
        await turn(flow, session, "hello")
        assert len(await flow.messages("talk-1") or ()) == 2

    async def test_messages_that_cannot_all_be_added(
        self, langflow: LangflowServer, counts: LangflowFlow, session: UniversalSession
    ) -> None:
        """The question is not asked with half of what was said: the rest goes before it."""
        for number in (1, 2):
            session.record(question=f"question {number}", response=f"answer {number}", flow_id="notes")
        langflow.room = 3
        await turn(counts, session, "who am I?", replay=whole(session))
        assert [each["text"] for each in langflow.messages[:3]] == ["question 1", "answer 1", "question 2"]
        asked = sent(langflow)[0]["input_value"]
        assert "question 1" not in asked
        assert "User: question 2\nAssistant: answer 2\n" in asked
        assert asked.endswith("\nwho am I?")


class TestLooking:
    """What Langflow is asked besides questions."""

    async def test_discovery(self, langflow: LangflowServer, lfx: LfxServer, connect: Connect) -> None:
        found = await discover(connect(langflow))
        assert [(each.flow, each.name, each.description, each.api) for each in found[:2]] == [
            (COUNTS, "Counts turns", "Answers with the number of the turn", None),
            (STREAMS, "Streams", "", None),
        ]
        assert "counts-turns" in found[0].also
        (only,) = await discover(connect(lfx))
        assert (only.flow, only.name, only.api) == (CHAT, "chat", "workflow")

    async def test_discovery_with_a_wrong_key(
        self, langflow: LangflowServer, lfx: LfxServer, connect: Connect
    ) -> None:
        for server in (langflow, lfx):
            with pytest.raises(FlowFailed, match=r"discovery: server 'studio' .* refuses the key"):
                await discover(connect(server, key="wrong"))

    async def test_check(
        self, langflow: LangflowServer, lfx: LfxServer, connect: Connect, counts: LangflowFlow, heard: LangflowFlow
    ) -> None:
        """It does not run the flow, and tells of a flow that is not there, and of a key that is not taken."""
        assert await counts.check() == f"Counts turns on {langflow.url}"
        assert await heard.check() == f"chat on {lfx.url}"
        for flow, problem in (
            (LangflowFlow("f", connect(langflow), UNKNOWN), "has no such flow (404"),
            (LangflowFlow("f", connect(langflow), "nonsense"), "has no such flow (404"),
            (LangflowFlow("f", connect(lfx), UNKNOWN, api="workflow"), "has no such flow (404"),
            (LangflowFlow("f", connect(langflow, key="wrong"), COUNTS), "refuses the key (403"),
            (LangflowFlow("f", connect(lfx, key="wrong"), CHAT, api="workflow"), "refuses the key (401"),
        ):
            with pytest.raises(FlowFailed) as caught:
                await flow.check()
            assert problem in str(caught.value)
        assert not langflow.runs() + lfx.runs()


async def test_a_retry_only_where_it_does_no_harm(
    langflow: LangflowServer, connect: Connect, session: UniversalSession, api: Api
) -> None:
    langflow.fault = half
    for idempotent, times in ((False, 1), (True, 2)):
        langflow.asked.clear()
        flow = LangflowFlow("notes", connect(langflow), COUNTS, api=api, idempotent=idempotent)
        with pytest.raises(FlowUnsettled):
            await turn(flow, session, "hello")
        assert len(langflow.runs()) == times
