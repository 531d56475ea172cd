"""Flows answer questions given the session."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from agentic_flywheel import UniversalSession
from agentic_flywheel.backends import FlowRegistry, Question
from agentic_flywheel.backends.python_flow import PythonFlow, load_function
from agentic_flywheel.backends.recap import RecapFlow
from agentic_flywheel.config import FlowSettings, Settings
from agentic_flywheel.errors import ConfigError, FlowFailed, UnknownFlow
from agentic_flywheel.jsontext import decode
from agentic_flywheel.wiring import open_flows
from tests.support import flows
from tests.support.values import PUBLISHED


@pytest.fixture
def session() -> UniversalSession:
    return UniversalSession.from_json(PUBLISHED)


class TestRecap:
    """The built-in flow."""

    async def recap(self, session: UniversalSession, question: str) -> str:
        return (await RecapFlow().ask(Question(question, session))).text

    async def test_what_was_asked_before(self, session: UniversalSession) -> None:
        """It finds the turns that have to do with a question: what was asked, when, who answered, and what."""
        session.record(question="And the weather?", response="Sunny.", flow_id="other")
        answer = await self.recap(session, "What did we say about creative orientation?")
        for words in (
            "you asked 'What is creative orientation?'",
            "at 2025-11-18T10:00:00Z",
            "csv2507 said 'Creative orientation focuses on...'",
        ):
            assert words in answer
        assert "weather" not in answer

    async def test_the_newest_first(self, session: UniversalSession) -> None:
        """Of several turns about something the newest is told first, and no more than a few of them."""
        for number in range(10):
            session.record(question=f"weather {number}", response="Sunny.")
        lines = (await self.recap(session, "weather")).splitlines()
        assert "weather 9" in lines[0]
        assert len(lines) == 5

    async def test_what_the_context_holds(self, session: UniversalSession) -> None:
        """It finds what the context holds, of any type."""
        session.context["deadline"] = datetime(2026, 1, 2)
        assert "topic is structural tension" in await self.recap(session, "What is the topic?")
        assert "2026-01-02" in await self.recap(session, "When is the deadline?")

    async def test_the_whole_story(self, session: UniversalSession) -> None:
        """Asked for everything, it tells since when, how many turns, the first, the last, and the context."""
        for number in range(5):
            session.record(question=f"question {number}", response="r")
        answer = await self.recap(session, "Please recap our conversation so far.")
        for words in (
            "6 turns since 2025-11-18T10:00:00Z",
            "First, ",
            "creative orientation",
            "'question 4'",
            "topic is",
        ):
            assert words in answer
        assert "'question 0'" not in answer

    async def test_a_new_conversation(self) -> None:
        """A conversation in which nothing was said has nothing to recap."""
        assert "nothing was said before" in await self.recap(UniversalSession(backend="custom"), "Recap?")

    @pytest.mark.parametrize(
        "question",
        [
            "remember my name: Ada",
            "Remember that my name is Ada",
            "REMEMBER my name = Ada",
            " remember my name is Ada",
        ],
    )
    async def test_notes(self, session: UniversalSession, question: str) -> None:
        """It notes in the context what it is told to remember, and finds it again."""
        assert await self.recap(session, question) == "Noted: my name is Ada."
        assert session.context["my name"] == "Ada"
        assert "my name is Ada" in await self.recap(session, "What is my name?")

    async def test_turns_of_others(self) -> None:
        """Turns in which nothing is where ours have it do not disturb it."""
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": "hi"},
            {"question": {"parts": [1]}, "response": None},
        ]
        session = UniversalSession.from_dict({"backend": "custom", "history": turns})
        assert "2 turns" in await self.recap(session, "recap")

    async def test_long_texts(self, session: UniversalSession) -> None:
        """Long questions and answers are quoted in part."""
        session.record(question="weather " * 100, response="rain " * 1000)
        assert len(await self.recap(session, "weather")) < 1000


def _spied(function: Callable[..., Any], seen: list[Any]) -> Callable[..., Any]:
    """The function with the same parameters, which notes what it gives and answers with a text."""

    @functools.wraps(function)
    def spied(*arguments: Any) -> str:
        seen.append(function(*arguments))
        return "seen"

    return spied


class TestPythonFlows:
    """Functions as flows."""

    @pytest.mark.parametrize(
        ("function", "text"),
        [
            (flows.echo, "echo: q"),
            (flows.echo_later, "later: q"),
            (flows.count, "q after 1 turns"),
            (flows.note, "noted: q"),
            (flows.AsyncObject(), "object: q"),
            (lambda question: flows.echo_later(question), "later: q"),
        ],
        ids=["sync", "async", "sync with session", "async with session", "object", "lambda"],
    )
    async def test_functions(self, session: UniversalSession, function: Callable[..., Any], text: str) -> None:
        """A function may be sync or async, and take the question alone or the session too."""
        assert (await PythonFlow("f", function).ask(Question("q", session))).text == text

    async def test_output(self, session: UniversalSession) -> None:
        """What a function returns is the full output; its text is the text, or else its JSON."""
        answer = await PythonFlow("f", flows.note).ask(Question("q", session))
        assert answer.output == {"text": "noted: q", "tokens": 7}
        assert session.context["noted"] == "q"
        for output in ([1, "two"], {"text": 5}, None, 7):
            answer = await PythonFlow("f", lambda question, output=output: output).ask(Question("q", session))
            assert decode(answer.text) == answer.output == output

    async def test_which_functions_get_the_session(self, session: UniversalSession) -> None:
        """A second argument is the session if it must be given or is called so; other defaults stay."""
        for function, given in (
            (lambda question, conversation: conversation, True),
            (lambda question, session=None: session, True),
            (lambda question, temperature=None: temperature, False),
            (lambda question, *, session=None: session, False),
            (lambda *questions: None if len(questions) == 1 else questions, False),
        ):
            seen: list[Any] = []
            await PythonFlow("f", _spied(function, seen)).ask(Question("q", session))
            assert seen == [session if given else None]

    async def test_no_json(self, session: UniversalSession) -> None:
        """What JSON cannot hold is no answer; the message names the flow and the place."""
        with pytest.raises(FlowFailed, match=r"flow 'f' returned what JSON cannot hold: output\.image: "):
            await PythonFlow("f", lambda question: {"image": object()}).ask(Question("q", session))

    @pytest.mark.parametrize(
        ("target", "words"),
        [
            ("", "it has the form 'module:function'"),
            ("tests.support.flows", "it has the form 'module:function'"),
            (":echo", "it has the form 'module:function'"),
            ("tests.support.flows:", "it has the form 'module:function'"),
            ("tests.support.nowhere:echo", "'tests.support.nowhere' cannot be imported"),
            ("tests.support.broken_flows:echo", "cannot be imported: RuntimeError('this module is broken')"),
            ("tests.support.flows:nothing", "'tests.support.flows' has no function 'nothing'"),
            ("tests.support.flows:NOT_A_FUNCTION", "has no function 'NOT_A_FUNCTION'"),
            ("builtins:dict", "tells no parameters"),
        ],
    )
    def test_wrong_targets(self, target: str, words: str) -> None:
        """A target that names no function is a ConfigError with the flow's name."""
        with pytest.raises(ConfigError) as caught:
            load_function(target, "mine")
        assert str(caught.value).startswith("flows.mine.target")
        assert words in str(caught.value)


class TestRegistry:
    """The configured flows."""

    @pytest.fixture
    def registry(self) -> FlowRegistry:
        return FlowRegistry(
            [RecapFlow(), PythonFlow("csv2507", flows.echo), PythonFlow("other", flows.echo)], "recap"
        )

    def test_choice(self, registry: FlowRegistry) -> None:
        """The named flow answers, else the session's current one if there still is one, else the default."""
        assert registry.choose("other", "csv2507").id == "other"
        assert registry.choose(None, "csv2507").id == "csv2507"
        assert registry.choose(None, "gone").id == registry.choose("", None).id == "recap"

    def test_unknown(self, registry: FlowRegistry) -> None:
        """An unknown flow is refused with the nearest name, or with all there are."""
        with pytest.raises(UnknownFlow, match="no flow 'csv2508' is configured; did you mean 'csv2507'"):
            registry.get("csv2508")
        with pytest.raises(UnknownFlow, match="there are csv2507, other, recap"):
            registry.choose("zzz", "csv2507")
        with pytest.raises(UnknownFlow, match="no flow 'gone' is configured"):
            FlowRegistry([RecapFlow()], "gone").choose(None, None)

    def test_from_settings(self) -> None:
        """Settings bring their flows beside the built-in one."""
        mine = FlowSettings(target="tests.support.flows:count", description="Mine", timeout=1.5, turns=-1)
        registry = open_flows(Settings(flows={"mine": mine}, default_flow="mine"))
        assert [flow.id for flow in registry] == ["recap", "mine"]
        flow = registry.choose(None, None)
        assert (flow.backend, flow.description, flow.timeout, flow.turns) == ("custom", "Mine", 1.5, None)

    def test_unknown_backend(self) -> None:
        """A backend that there is not is a ConfigError that names the flow."""
        with pytest.raises(ConfigError, match=r"flows\.mine\.backend is 'oracle'"):
            open_flows(Settings(flows={"mine": FlowSettings(backend="oracle")}))
