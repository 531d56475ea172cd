"""What can go wrong between us and a flow's server, for each kind of flow and each way of asking it.

Each problem gives one clear error, which names the flow and says what to do. Neither the error, nor a log, nor
anything that can be printed holds the key or the question. Afterwards the flow can be asked as before.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import traceback
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentic_flywheel import UniversalSession
from agentic_flywheel.backends import Question, http_pool
from agentic_flywheel.backends.flowise import FlowiseFlow
from agentic_flywheel.backends.http_problems import LARGEST_REPLY
from agentic_flywheel.backends.http_server import FlowServer
from agentic_flywheel.backends.langflow import LangflowFlow
from agentic_flywheel.backends.server_flow import ServerFlow
from agentic_flywheel.errors import ConfigError, FlowFailed, FlowUnsettled
from tests.backends.conftest import Connect
from tests.support.flow_servers import (
    KEY,
    FlowiseServer,
    Huge,
    LangflowServer,
    Late,
    LfxServer,
    ServedFlows,
    Zipped,
    bare,
    half,
    page,
    redirect,
    saying,
)
from tests.support.flow_servers import flowise as on_flowise
from tests.support.flow_servers import langflow as on_langflow
from tests.support.flow_servers import lfx as on_lfx
from tests.support.servers import HOST, TlsFiles, free_port

SECRET = "what nobody else may read"


@dataclass(frozen=True)
class Kind:
    """A kind of flow, on a server of its own, and a flow there."""

    served: ServedFlows
    flow_id: str
    options: dict[str, Any]

    @property
    def locked(self) -> str:
        """A flow there that wants the key, as all do but on Flowise."""
        if not isinstance(self.served, FlowiseServer):
            return self.flow_id
        return on_flowise.LOCKED_AGENT if "stream" in self.options else on_flowise.LOCKED

    def flow(self, server: FlowServer, flow_id: str | None = None, **options: Any) -> ServerFlow:
        """The flow, called ``notes``, or another one of that server."""
        kind = FlowiseFlow if isinstance(self.served, FlowiseServer) else LangflowFlow
        return kind("notes", server, flow_id or self.flow_id, **{**self.options, **options})


_KINDS: dict[str, tuple[type[ServedFlows], str, dict[str, Any]]] = {
    "flowise": (FlowiseServer, on_flowise.COUNTER, {}),
    "flowise-stream": (FlowiseServer, on_flowise.MODEL, {"stream": True}),
    "langflow": (LangflowServer, on_langflow.COUNTS, {}),
    "langflow-stream": (LangflowServer, on_langflow.STREAMS, {"stream": True}),
    "langflow-workflow": (LangflowServer, on_langflow.COUNTS, {"api": "workflow"}),
    "lfx": (LfxServer, on_lfx.CHAT, {"api": "workflow"}),
    "lfx-stream": (LfxServer, on_lfx.CHAT, {"api": "workflow", "stream": True}),
}


@pytest.fixture(params=_KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Each kind of flow, one after the other."""
    made, flow_id, options = _KINDS[request.param]
    with made(key=KEY) as served:
        yield Kind(served, flow_id, options)


@pytest.fixture
def session() -> UniversalSession:
    return UniversalSession(backend="any", backend_session_id="talk-1")


@pytest.fixture(autouse=True)
def logs_hold_no_secret(caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever is logged, by us and by the HTTP library, holds neither the key nor the question."""
    caplog.set_level(logging.DEBUG)
    yield
    logged = [caplog.handler.format(record) for record in caplog.get_records("call")]
    assert logged or "kind" not in request.fixturenames
    assert not [line for line in logged if KEY in line or SECRET in line]


async def problem(flow: ServerFlow, session: UniversalSession, text: str = SECRET) -> FlowFailed:
    """The error that a question gives. It names the flow, says what to do, and holds no secret."""
    with pytest.raises(FlowFailed) as caught:
        await flow.ask(Question(text, session, on_text=lambda _: None))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(flow) + repr(flow.server)
    assert KEY not in shown
    assert SECRET not in shown
    message = str(caught.value)
    assert message.startswith("flow 'notes'")
    assert "server 'studio' at " in message
    assert len(message) < 700
    assert re.search(r"; (correct|start|set|put|name|see|ask|let|shorten)\b|: see what it did", message), message
    return caught.value


async def works(kind: Kind, flow: ServerFlow, session: UniversalSession) -> None:
    """The same flow can be asked as before in the same conversation."""
    kind.served.fault = None
    answer = await flow.ask(Question("hello", session, on_text=lambda _: None))
    assert answer.text.endswith(": hello")


async def given_up(flow: ServerFlow, question: Question, late: Late) -> None:
    """Ask, and give up when the question has arrived, as for a time-out."""
    asking = asyncio.create_task(flow.ask(question))
    await asyncio.to_thread(late.wait_until_asked)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


class TestPlaces:
    """The URL leads to something else, or nowhere."""

    async def test_nobody_is_there(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        flow = kind.flow(connect(kind.served, f"http://{HOST}:{free_port()}"))
        found = await problem(flow, session)
        assert "cannot be reached" in str(found)
        assert "Connect call failed" in str(found)
        assert str(found).endswith("start it, or correct servers.studio.url")
        assert not isinstance(found, FlowUnsettled)

    async def test_no_such_host(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        found = await problem(kind.flow(connect(kind.served, "http://flows.invalid")), session)
        assert "server 'studio' at http://flows.invalid cannot be reached" in str(found)

    async def test_a_wrong_path(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        """Flowise answers with its own web page there, the others with 404."""
        found = await problem(kind.flow(connect(kind.served, f"{kind.served.url}/somewhere")), session)
        assert "a web page" in str(found) or "has no such flow (404: Not Found)" in str(found)
        assert "servers.studio.url" in str(found)

    async def test_a_slash_at_the_end_does_not_matter(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        await works(kind, kind.flow(connect(kind.served, f"{kind.served.url}/")), session)

    async def test_a_web_page(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        flow = kind.flow(connect(kind.served))
        kind.served.fault = page()
        found = await problem(flow, session)
        assert "answered with a web page; correct servers.studio.url" in str(found)
        assert not isinstance(found, FlowUnsettled)
        await works(kind, flow, session)

    async def test_something_that_is_no_json(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        flow = kind.flow(connect(kind.served))
        kind.served.fault = bare(b"pong", "text/plain")
        assert "answered with something that is no JSON; correct" in str(await problem(flow, session))
        await works(kind, flow, session)

    async def test_a_redirect_to_another_host(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        """Neither question nor key go there."""
        with FlowiseServer(key=KEY) as other:
            flow = kind.flow(connect(kind.served))
            kind.served.fault = redirect(f"{other.url}/api/v1/prediction/{on_flowise.COUNTER}?token=of-theirs")
            found = await problem(flow, session)
            assert "of-theirs" not in str(found)
            assert f"redirects (307) to http://{HOST}:{other.port}, and nothing was sent there" in str(found)
            assert not other.asked
            await works(kind, flow, session)

    async def test_a_redirect_within_the_host(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        flow = kind.flow(connect(kind.served))
        kind.served.fault = redirect("/login")
        assert "redirects (307) to another of its own pages" in str(await problem(flow, session))
        await works(kind, flow, session)


class TestProxies:
    """A proxy that the environment names."""

    async def test_questions_go_by_it(
        self, kind: Kind, connect: Connect, session: UniversalSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("http_proxy", kind.served.url)
        await problem(kind.flow(connect(kind.served, "http://flows.invalid")), session)  # what is asked is no proxy
        asked = kind.served.asked[-1]
        assert asked.path.startswith("http://flows.invalid/")
        assert asked.headers["host"] == "flows.invalid"

    @pytest.mark.parametrize("proxy", [f"{HOST}:1", f"http://{HOST}:1"])
    async def test_not_those_to_a_server_that_is_excepted(
        self, kind: Kind, connect: Connect, session: UniversalSession, monkeypatch: pytest.MonkeyPatch, proxy: str
    ) -> None:
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("http_proxy", proxy)
        assert "cannot be reached" in str(await problem(kind.flow(connect(kind.served)), session))
        monkeypatch.setenv("no_proxy", f"localhost,{HOST}")
        await works(kind, kind.flow(connect(kind.served)), session)

    async def test_one_that_wants_a_password(
        self, kind: Kind, connect: Connect, session: UniversalSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("http_proxy", kind.served.url.replace("//", "//someone:s%20cret@"))
        await problem(kind.flow(connect(kind.served, "http://flows.invalid")), session)
        given = kind.served.asked[-1].headers["proxy-authorization"]
        assert b64decode(given.removeprefix("Basic ")) == b"someone:s cret"

    @pytest.mark.parametrize(("compress", "encoding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
    async def test_one_that_compresses(
        self,
        kind: Kind,
        connect: Connect,
        session: UniversalSession,
        compress: Callable[[bytes], bytes],
        encoding: str,
    ) -> None:
        flow = kind.flow(connect(kind.served))
        kind.served.fault = Zipped(compress, encoding)
        answer = await flow.ask(Question("hello", session, on_text=lambda _: None))
        assert answer.text.endswith(": hello")

    async def test_one_that_only_says_that_it_does(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        flow = kind.flow(connect(kind.served))
        kind.served.fault = Zipped(bytes, "gzip")
        assert "was cut off" in str(await problem(flow, session))
        await works(kind, flow, session)


class TestCertificates:
    """A server that shows who it is."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> TlsFiles:
        return TlsFiles.issue(tmp_path)

    async def test_one_that_does_not_verify(
        self, files: TlsFiles, connect: Connect, session: UniversalSession
    ) -> None:
        with FlowiseServer(key=KEY, tls=files) as served:
            kind = Kind(served, on_flowise.COUNTER, {})
            found = await problem(kind.flow(connect(served)), session)
            assert "the certificate of server 'studio' at https://" in str(found)
            assert "cannot be verified" in str(found)
            assert "servers.studio.ca_file" in str(found)
            assert not served.asked
            await works(kind, kind.flow(connect(served, ca_file=str(files.authority))), session)
            await works(kind, kind.flow(connect(served, verify=False)), session)

    async def test_an_authority_that_issued_another(
        self, files: TlsFiles, connect: Connect, session: UniversalSession, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        other = TlsFiles.issue(tmp_path / "other")
        with FlowiseServer(key=KEY, tls=files) as served:
            flow = Kind(served, on_flowise.COUNTER, {}).flow(connect(served, ca_file=str(other.authority)))
            assert "cannot be verified" in str(await problem(flow, session))

    async def test_https_where_there_is_none(
        self, files: TlsFiles, connect: Connect, session: UniversalSession
    ) -> None:
        """And none where there is; each time the first half of the URL is to be looked at."""
        with FlowiseServer(key=KEY) as plain, FlowiseServer(key=KEY, tls=files) as secure:
            flow = Kind(plain, on_flowise.COUNTER, {}).flow(connect(plain, f"https://{HOST}:{plain.port}"))
            assert "has to begin with http:// or https://" in str(await problem(flow, session))
            flow = Kind(secure, on_flowise.COUNTER, {}).flow(connect(secure, f"http://{HOST}:{secure.port}"))
            assert isinstance(await problem(flow, session), FlowUnsettled)

    @pytest.mark.parametrize("content", [None, "no certificate"])
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, content: str | None) -> None:
        file = tmp_path / "authority.pem"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ConfigError, match=r"servers\.studio\.ca_file is .*authority\.pem.*cannot be used"):
            FlowServer("studio", "https://flows.example.org", key=None, ca_file=str(file))


class TestKeys:
    """A key that is wrong, missing, or none."""

    async def test_a_wrong_one(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        """Flowise says 500 to that, or 200 and an error in the stream."""
        kind.served.key = "another"
        found = await problem(kind.flow(connect(kind.served), kind.locked), session)
        assert not isinstance(found, FlowUnsettled)
        assert "refuses the key (" in str(found)
        assert "the environment variable that servers.studio.key_env names" in str(found)

    async def test_none_where_one_is_wanted(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        found = await problem(kind.flow(connect(kind.served, key=None), kind.locked), session)
        assert "wants a key (" in str(found)
        assert "name the environment variable that holds it in servers.studio.key_env" in str(found)

    async def test_a_server_that_says_the_key(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        """What a server says is passed on without the key and without the question."""
        flow = kind.flow(connect(kind.served))
        kind.served.fault = saying(400, {"message": f"the key {KEY} and '{SECRET}' are wrong"})
        assert "(400: the key … and '…' are wrong)" in str(await problem(flow, session))
        await works(kind, flow, session)

    async def test_space_around_it_does_not_matter(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        await works(kind, kind.flow(connect(kind.served, key=f" {KEY}\r\n")), session)

    @pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"Bearer {KEY}", f"{KEY}ü"])
    def test_one_that_no_header_can_carry(self, key: str) -> None:
        """It is told of before anything is asked, without showing it."""
        with pytest.raises(
            ConfigError, match=r"the key of server 'studio' holds .*servers\.studio\.key_env"
        ) as caught:
            FlowServer("studio", "http://flows.example.org", key=key)
        assert KEY not in str(caught.value)


class TestAnswers:
    """A server that answers with an error, or with too much or too little."""

    async def test_an_unknown_flow(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        found = await problem(kind.flow(connect(kind.served), on_flowise.UNKNOWN), session)
        assert "has no such flow (404" in str(found)
        assert "'flywheel flows discover studio'" in str(found)

    async def test_a_flow_that_throws(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        flow = kind.flow(connect(kind.served))
        found = await problem(flow, session, "boom")
        assert "flow 'notes' failed on server 'studio'" in str(found)
        assert "the flow broke on purpose" in str(found)
        assert not isinstance(found, FlowUnsettled)
        await works(kind, flow, session)

    @pytest.mark.parametrize(
        ("status", "says"),
        [
            (413, "takes no question as long as this (413"),
            (422, "refuses the question (422"),
            (429, "takes no more questions for now (429"),
            (503, "takes no questions now (503"),
            (418, "flow 'notes' failed on server 'studio'"),
        ],
    )
    async def test_other_statuses(
        self, kind: Kind, connect: Connect, session: UniversalSession, status: int, says: str
    ) -> None:
        flow = kind.flow(connect(kind.served))
        kind.served.fault = saying(status, {"detail": "so it is"})
        found = await problem(flow, session)
        assert f"{says}: so it is)" in str(found) or (says in str(found) and "(418: so it is)" in str(found))
        assert not isinstance(found, FlowUnsettled)
        await works(kind, flow, session)

    @pytest.mark.parametrize("status", [502, 504])
    async def test_a_proxy_that_waited_in_vain(
        self, kind: Kind, connect: Connect, session: UniversalSession, status: int
    ) -> None:
        """The flow may have run behind it."""
        flow = kind.flow(connect(kind.served))
        kind.served.fault = page(status)
        found = await problem(flow, session)
        assert isinstance(found, FlowUnsettled)
        assert f"answered in time ({status}: a web page)" in str(found)
        await works(kind, flow, session)

    @pytest.mark.parametrize("announced", [True, False])
    async def test_50_megabytes(
        self, kind: Kind, connect: Connect, session: UniversalSession, announced: bool
    ) -> None:
        """They are not read: of a reply that says how long it is nothing, of others no more than we take."""
        flow, streams = kind.flow(connect(kind.served)), "stream" in kind.options
        huge = Huge(announced=announced, kind="text/event-stream" if streams else "application/json")
        kind.served.fault = huge
        found = await problem(flow, session)
        assert "is larger than 16 MB and was not read" in str(found)
        assert not isinstance(found, FlowUnsettled)
        assert huge.sent < huge.size  # not all of what was sent was read: the system has buffers, too
        assert not huge.sent or not announced
        await works(kind, flow, session)

    async def test_an_error_of_50_megabytes(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        flow = kind.flow(connect(kind.served))
        kind.served.fault = saying(500, {"message": "x" * LARGEST_REPLY})
        assert "larger than 16 MB" in str(await problem(flow, session))
        kind.served.fault = saying(500, {"message": "word " * 1000})
        assert "word word" in str(await problem(flow, session))
        await works(kind, flow, session)

    async def test_no_text(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        """What the flow gave instead is kept with the error."""
        flow = kind.flow(connect(kind.served))
        kind.served.fault = saying(200, {"session_id": "talk-1", "chatId": "talk-1", "outputs": []})
        found = await problem(flow, session)
        assert "the reply of server 'studio'" in str(found)
        assert "holds no text; let the flow end in a" in str(found)
        assert found.output == {"session_id": "talk-1", "chatId": "talk-1", "outputs": []}
        await works(kind, flow, session)

    async def test_a_stream_without_text(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        if "stream" not in kind.options:
            kind.served.fault = saying(200, {})
            assert "holds no text" in str(await problem(kind.flow(connect(kind.served)), session))
            return
        kind.served.fault = bare(b'data: {"event": "end", "data": "[DONE]"}\n\n', "text/event-stream")
        assert "holds no text" in str(await problem(kind.flow(connect(kind.served)), session))


class TestConnections:
    """Connections that break, and servers that say nothing."""

    async def test_half_an_answer(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        """Nobody knows whether the flow ran, and what it would have said."""
        flow = kind.flow(connect(kind.served))
        kind.served.fault = half
        found = await problem(flow, session)
        assert isinstance(found, FlowUnsettled)
        assert "was cut off" in str(found)
        assert "the flow may have run all the same" in str(found)
        assert len(kind.served.runs()) == 1
        await works(kind, flow, session)

    async def test_half_an_answer_that_ends_properly(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        """As from a proxy that lost its server: the reply is complete, and what is in it is not."""
        flow = kind.flow(connect(kind.served))
        if "stream" in kind.options:
            kind.served.fault = bare(b'data: {"event": "token", "data": "a"}\n\n', "text/event-stream")
        else:
            kind.served.fault = bare(b'{"text": "a wor', "application/json")
        assert isinstance(await problem(flow, session), FlowUnsettled)
        if "stream" in kind.options:
            kind.served.fault = bare(b'data: {"event": "token", "da\n\n', "text/event-stream")
            assert "an event is damaged" in str(await problem(flow, session))
        await works(kind, flow, session)

    async def test_a_server_that_dies_while_it_answers(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        flow, late = kind.flow(connect(kind.served)), Late()
        kind.served.fault = late
        asking = asyncio.create_task(problem(flow, session))
        await asyncio.to_thread(late.wait_until_asked)
        kind.served.kill()
        assert isinstance(await asking, FlowUnsettled)
        kind.served.start()
        await works(kind, flow, session)

    async def test_a_server_that_was_restarted_is_asked_without_ado(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        """Connections from before are not used."""
        flow = kind.flow(connect(kind.served))
        for _ in range(3):
            await works(kind, flow, session)
            kind.served.restart()
        await works(kind, flow, session)

    async def test_a_flow_that_never_answers(self, kind: Kind, connect: Connect, session: UniversalSession) -> None:
        """Who asks gives up when the flow's time is over; that costs neither the flow nor others anything."""
        flow, late = kind.flow(connect(kind.served)), Late()
        kind.served.fault = late
        await given_up(flow, Question(SECRET, session), late)
        await works(kind, flow, session)

    async def test_a_server_that_answers_too_late(
        self, kind: Kind, connect: Connect, session: UniversalSession
    ) -> None:
        """The turn is run and kept all the same, and can be read back, where the server keeps anything."""
        flow, late = kind.flow(connect(kind.served)), Late()
        kind.served.fault = late
        await given_up(flow, Question("a late one", session, on_text=lambda _: None), late)
        assert not await flow.messages("talk-1")
        await asyncio.to_thread(late.let_go)
        messages = await flow.messages("talk-1")
        if isinstance(kind.served, LfxServer):
            assert messages is None
        else:
            assert [each.text for each in messages or ()] == ["a late one", "turn 1: a late one"]
        await works(kind, flow, session)

    async def test_a_server_that_says_nothing_when_it_is_asked_about_a_conversation(
        self, kind: Kind, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is not waited for as long as for a flow."""
        flow = kind.flow(connect(kind.served))
        monkeypatch.setattr(http_pool, "_ASKS", {"timeout": {"read": 0.05}})
        kind.served.silent = True
        with pytest.raises(FlowFailed, match=r"flow 'notes': the answer of .* was cut off \(ReadTimeout\); try"):
            await flow.messages("talk-1")
