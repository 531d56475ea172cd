"""What went wrong between us and a flow server, and what to do about it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import FlowFailed, FlowUnsettled, KeyRefused
from ..jsontext import decode
from .server_key import SHORTEST, ServerKey

LONGEST_QUOTE = 300  # characters of what a server says that are told
LARGEST_REPLY = 16 * 1024**2

_NOBODY_WAITED = (502, 504, 520, 522, 524)
"""Statuses of a proxy that got no answer from the server behind it; the last three are Cloudflare's."""

_FLOWISE_KEY_REFUSED = (".buildChatflow - Unauthorized", ".getAllChatMessages - Unauthorized access")
"""How the error ends, which comes with status 500."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a flow server.

    Attributes:
        who: on whose behalf, as messages name it (``flow 'csv2507'``).
        path: below the server's URL.
        headers: its headers; the key is among them.
        params: its query.
        body: JSON to POST; a call without one is a GET.
        runs: whether it runs the flow, so that nobody knows what happened if no answer comes.
        private: the question, which errors and logs do not repeat.
    """

    who: str
    path: str
    headers: dict[str, str] = field(repr=False)
    params: dict[str, str] | None = None
    body: bytes | None = field(default=None, repr=False)
    runs: bool = False
    private: str = field(default="", repr=False)


def no_flows(name: str, url: str) -> FlowFailed:
    """A server that was asked for its flows, and answered with other JSON."""
    return FlowFailed(
        f"discovery: what server {name!r} at {url} answered is no list of flows; check servers.{name}.url and "
        f"servers.{name}.backend"
    )


class Problems:
    """Makes errors that name the flow and its server, say what to do, and hold neither key nor question."""

    def __init__(self, name: str, url: str, key: ServerKey) -> None:
        self._name = name
        self._at = f"server {name!r} at {url}"
        self._key = key

    def unsent(self, call: Call, error: Exception) -> FlowFailed:
        """The server never got the call."""
        reason, server = _root(error), f"servers.{self._name}"
        if isinstance(reason, ssl.SSLCertVerificationError):
            return FlowFailed(
                f"{call.who}: the certificate of {self._at} cannot be verified ({reason.verify_message}); correct "
                f"{server}.url, or name the PEM file of its authority in {server}.ca_file"
            )
        if isinstance(reason, ssl.SSLError):
            return FlowFailed(
                f"{call.who}: {self._at} and we cannot agree on TLS ({self._clean(str(reason), call)}); see "
                f"whether {server}.url has to begin with http:// or https://"
            )
        return FlowFailed(
            f"{call.who}: {self._at} cannot be reached ({self._clean(_told(reason), call)}); start it, or correct "
            f"{server}.url"
        )

    def busy(self, call: Call, connections: int, seconds: float) -> FlowFailed:
        """All connections were in use, and none of them became free."""
        return FlowFailed(
            f"{call.who}: all {connections} connections to {self._at} were busy for {seconds:g} s; ask again later"
        )

    def cut(self, call: Call, reason: object) -> FlowFailed:
        """The server got the call, as far as we know, and the answer did not arrive, or not all of it."""
        lost = f"{call.who}: the answer of {self._at} was cut off ({self._clean(_told(reason), call)}); "
        return self._open_end(call, lost)

    def _open_end(self, call: Call, what: str) -> FlowFailed:
        if not call.runs:
            return FlowFailed(f"{what}try again")
        return FlowUnsettled(
            f"{what}the flow may have run all the same: see what it did before you ask again, or set idempotent if "
            "running it twice does no harm"
        )

    def redirected(self, call: Call, status: int, location: str) -> FlowFailed:
        """The server sends us elsewhere, where neither question nor key go."""
        try:
            target = urlsplit(location)
            place = f"{target.scheme}://{target.hostname}:{target.port}" if target.port else target.hostname
        except ValueError:
            place = None
        return FlowFailed(
            f"{call.who}: {self._at} redirects ({status}) to {place or 'another of its own pages'}, and nothing "
            f"was sent there; correct servers.{self._name}.url"
        )

    def refused(self, call: Call, status: int, kind: str, body: bytes) -> FlowFailed:
        """The server answered with an error."""
        said = self._clean(said_in(kind, body), call)
        answer = f"{status}: {said}" if said else str(status)
        if status in _NOBODY_WAITED:
            return self._open_end(call, f"{call.who}: nothing behind {self._at} answered in time ({answer}); ")
        if status in (401, 403) or said.endswith(_FLOWISE_KEY_REFUSED):
            return self._key_refused(call, answer)
        advice = _ADVICE.get(status)
        if advice is None:
            return FlowFailed(f"{call.who} failed on {self._at} ({answer}); see the flow, and the server's log")
        return FlowFailed(f"{call.who}: {self._at} {advice[0]} ({answer}); {advice[1].format(server=self._name)}")

    def _key_refused(self, call: Call, answer: str) -> KeyRefused:
        setting = f"servers.{self._name}.key_env"
        if self._key.value is None:
            return KeyRefused(
                f"{call.who}: {self._at} wants a key ({answer}); name the environment variable that holds it in "
                f"{setting}"
            )
        return KeyRefused(
            f"{call.who}: {self._at} refuses the key ({answer}); put one that it takes into the environment "
            f"variable that {setting} names"
        )

    def failed(self, call: Call, said: str, output: Any = None) -> FlowFailed:
        """The flow ran, and says itself that it failed."""
        said = self._clean(said, call)
        if said.endswith(_FLOWISE_KEY_REFUSED):
            return self._key_refused(call, said)
        return FlowFailed(f"{call.who} failed on {self._at} ({said}); see the flow, and the server's log", output)

    def too_large(self, call: Call) -> FlowFailed:
        """The reply is larger than any that we take; the rest of it was not read."""
        return FlowFailed(
            f"{call.who}: the reply of {self._at} is larger than {LARGEST_REPLY // 1024**2} MB and was not read; "
            "let the flow answer with less"
        )

    def too_deep(self, who: str) -> FlowFailed:
        """The reply is nested so deeply that nobody can look into it."""
        return FlowFailed(f"{who}: the reply of {self._at} is nested too deeply; let the flow answer with less")

    def not_json(self, call: Call, kind: str, body: bytes) -> FlowFailed:
        """The reply is something else than what a flow server answers with, or half of it."""
        if body[:1] in (b"{", b"["):
            return self.cut(call, "it is not complete JSON")
        what = "a web page" if _is_page(kind, body) else "something that is no JSON"
        return FlowFailed(
            f"{call.who}: {self._at} answered with {what}; correct servers.{self._name}.url, which may lead to a "
            "login page or another program"
        )

    def no_text(self, call: Call, output: Any, advice: str) -> FlowFailed:
        """The flow answered, and what it answered holds no text."""
        return FlowFailed(f"{call.who}: the reply of {self._at} holds no text; {advice}", output)

    def _clean(self, text: str, call: Call) -> str:
        """What a server said, in one line of bounded length, without the key and without the question."""
        text = self._key.cleared(" ".join(text.split()), "…")
        private = " ".join(call.private.split())
        if len(private) >= SHORTEST:
            text = text.replace(private, "…")
        return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


_ADVICE = {
    400: ("refuses the question", "correct the flow's id and its parameters"),
    404: ("has no such flow", "see 'flywheel flows discover {server}' for what it has, and servers.{server}.url"),
    405: ("takes no questions there", "correct servers.{server}.url"),
    413: ("takes no question as long as this", "shorten it, or what goes with it"),
    422: ("refuses the question", "correct the flow's id and its parameters"),
    429: ("takes no more questions for now", "ask again later"),
    503: ("takes no questions now", "ask again when it does"),
}


def said_in(kind: str, body: bytes) -> str:
    """What the body of an error says, in whichever form the products have for it."""
    if _is_page(kind, body):
        return "a web page"
    try:
        return _sentence(decode(body))
    except ValueError:
        return body.decode(errors="replace")


def _sentence(value: Any) -> str:
    if isinstance(value, str):
        return _within(value)
    if isinstance(value, list):
        return "; ".join(_sentence(each) for each in value)
    if not isinstance(value, dict):
        return ""
    if isinstance(value.get("loc"), list):  # pydantic's; the rest of it repeats what was sent
        return f"{'.'.join(map(str, value['loc']))}: {value.get('msg')}"
    return next((_sentence(value[name]) for name in ("message", "detail", "error") if value.get(name)), "")


def _within(text: str) -> str:
    """A text, or what it says if it is JSON itself; Langflow writes errors so."""
    if text[:1] != "{":
        return text
    try:
        return _sentence(decode(text))
    except ValueError:
        return text


def _is_page(kind: str, body: bytes) -> bool:
    return kind == "text/html" or body.lstrip()[:1] == b"<"


def _root(error: Exception) -> BaseException:
    """What the system said, in the errors that libraries made of it."""
    found: BaseException = error
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError):
            found, link = link, link.__cause__
        else:
            link = link.__cause__ or link.__context__
    return found


def _told(reason: object) -> str:
    return str(reason) or type(reason).__name__  # a time-out has no words
