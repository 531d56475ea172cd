"""Secrets that tests plant, one for each way into what is stored. None of them is anybody's."""

from __future__ import annotations

from agentic_flywheel import Execution, SessionManager, UniversalSession
from agentic_flywheel.manager.importing import import_session, under_new_id
from agentic_flywheel.session import InFlight, new_id

NAMED = "correct-horse-battery"
"""Nothing shows that it is a secret but the name that it stands under."""

FORMS = {
    "openai": "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8t",
    "anthropic": "sk-ant-api03-Zz9yX8wV7uT6sR5qP4oN3mL2-kJ1",
    "github": "ghp_" + "a1B2c3D4e5F6" * 3,
    "github app": "ghs_" + "q7W8e9R1t2Y3" * 3,
    "github fine": "github_pat_11ABCDEFG0abcdefghij_klmn",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "slack": "xoxb-123456789012-abcdefGHIJKL",
    "slack user": "xoxp-987654321098-abcdefGHIJKL",
    "slack app": "xapp-1-A0123456789-abcdef",
    "google": "AIza" + "SyD3-x_9" * 4 + "abc",
    "gitlab": "glpat-abcdEFGH1234ijklMNOP",
    "npm": "npm_" + "Zy9xWv8uTs7r" * 3,
    "hugging face": "hf_" + "AbCdEfGhIjKl" * 3,
    "stripe": "sk_live_51AbCdEfGhIjKlMn",
    "stripe restricted": "rk_test_51AbCdEfGhIjKlMn",
    "flywheel": "flywheel_" + "Ab3-_xYz9kQ" * 3 + "Ab3-_xYz9k",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "bearer": "0123456789abcdef.ABCDEF~xyz",
    "url": "s3cr3t%2Fpw",
    "pem": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
}
_AROUND = {
    "bearer": "curl -H 'Authorization: Bearer {}' https://host/",
    "url": "it is postgres://shop:{}@db.internal:5432/shop",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
}
SECRETS = [NAMED, *FORMS.values()]


def said(form: str) -> str:
    """A sentence of somebody who pastes a secret of a form."""
    return "my key is " + _AROUND.get(form, "“{}”, keep it").format(FORMS[form])


ALL = "\n".join(map(said, FORMS))
"""All of them in one text."""


def conversation(session_id: str | None = None) -> UniversalSession:
    """A session with every secret in every place where people put something."""
    session = UniversalSession(backend="custom", current_flow_id="f", id=session_id or new_id("session"))
    session.context |= {"db": {"password": NAMED, "pins": [1, 2]}, "note": ALL}
    session.metadata |= {"apiKey": NAMED, "title": f"about {ALL}"}
    session.extra["said"] = [ALL]
    session.record(question=ALL, response={"token": NAMED, "deep": [{"text": ALL}]}, flow_id="f")
    return session


def execution(session: UniversalSession) -> Execution:
    """A run of a flow with every secret in every field."""
    return Execution(
        session_id=session.id,
        flow_id="f",
        status="failed",
        question=ALL,
        parameters={"client_secret": NAMED, "text": ALL},
        output={"said": ALL},
        text=ALL,
        error=ALL,
        extra={"token": NAMED},
    )


def found_in(kept: bytes) -> list[str]:
    """The secrets that stand somewhere in what is kept."""
    return [secret for secret in SECRETS if secret.encode() in kept]


async def put_everything(manager: SessionManager) -> UniversalSession:
    """Use each way into the store."""
    session = conversation()
    turn = InFlight("turn_in_flight", ALL, "f")
    assert await manager.turns.claim(session.id, turn) is None
    assert await manager.save_session(session, executions=[execution(session)])
    assert await manager.save_execution(execution(session))
    session.history[0]["response"]["more"] = {"password": NAMED}
    session.context["later"] = ALL
    assert await manager.save_session(session)
    return session


async def put_copies(manager: SessionManager, session: UniversalSession) -> None:
    """Use the ways on which a session becomes another one, or comes from outside."""
    await manager.fork_session(session.id)
    for given in (conversation(), under_new_id(conversation()), conversation(session.id)):
        assert (await import_session(manager, given)).saved
