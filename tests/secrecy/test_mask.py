"""What is masked, to the letter, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from agentic_flywheel.jsontext import decode, encode
from agentic_flywheel.secrecy import UNMASKED, Mask
from agentic_flywheel.secrecy.formats import may_hold_one
from agentic_flywheel.secrecy.names import looks_like_a_credential
from tests.secrecy.planted import ALL, FORMS, NAMED, said


def masked(document: dict[str, Any], mask: Mask | None = None) -> Any:
    return decode((mask or Mask()).document(encode(document)))


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "userPasswd", "API_KEY", "apiKey", "X-Api-Key", "secret", "client_secret", "token",
     "accessToken", "github_token", "Authorization", "cookie", "privateKey", "passphrase", "otp", "pin"],
)  # fmt: skip
def test_names_that_look_like_credentials(name: str) -> None:
    """In each way of writing words together."""
    assert looks_like_a_credential(name)


@pytest.mark.parametrize(
    "name",
    ["words", "key", "max_tokens", "author", "keyboard", "spinning", "path", "item", "token_count", "tokenUsage",
     "password_hint", "password_changed_at", "token_url", "api_key_env", ""],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    """Whatever else they have in common; and those that only say something about a credential."""
    assert not looks_like_a_credential(name)


@pytest.mark.parametrize("form", FORMS)
def test_well_known_forms(form: str) -> None:
    """The secret is gone, what stands around it is not; and the sieve in front of the search lets it by."""
    text = said(form)
    assert may_hold_one(text)
    (result,) = masked({"question": text}).values()
    assert FORMS[form] not in result
    assert "[masked]" in result
    before, after = text.split(FORMS[form])
    if form != "pem":  # of which its own lines are gone, too
        assert result == f"{before}[masked]{after}"


@pytest.mark.parametrize(
    "text",
    [
        "the class is sk-circle-fade-dot-animation-large",
        "task-0123456789012345678901234567890123 is done",
        "the bearer of good news; bearer bonds; Bearer internationalization",
        "write Authorization: Bearer <token> or Bearer ${TOKEN}",
        "postgres://user:<password>@host, postgres://user:$PW@host and https://host:443/a@b",
        "mail me at a@b.org, see http://[::1]:8080/x",
        "ghp_short, AKIA, AKIASHORT, xoxb-you-know, hf_hub_download, npm_config_cache",
        "ids: turn_0123456789abcdef0123456789abcdef, 12345678-1234-5678-1234-567812345678",
        "eyJ is how a JWT begins; eyJmb28 has one part",
        "it begins with -----BEGIN PRIVATE KEY----- and then comes base64",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
        "my password is in the safe; token: three; secret=none",
        "[masked] Bearer [masked] redis://:[masked]@host",
    ],
)
def test_words_that_only_look_alike(text: str) -> None:
    """Words are never destroyed because they remind of a key."""
    assert Mask().text(text) == text


def test_values_under_a_name() -> None:
    """Texts and numbers at any depth; what cannot be a secret stays, and so does the shape."""
    document = {
        "context": {"password": NAMED, "pin": 1234, "token": {"a": [NAMED, None, True, ""]}, "secret": None},
        "credentials": {"since": {"$datetime": "2025-11-18T10:00:00+00:00"}, "key": {"$bytes": "3q2+7w=="}},
        "picture": {"$bytes": "3q2+7w=="},
    }
    assert masked(document) == {
        "context": {
            "password": "[masked]",
            "pin": "[masked]",
            "token": {"a": ["[masked]", None, True, ""]},
            "secret": None,
        },
        "credentials": {"since": {"$datetime": "2025-11-18T10:00:00+00:00"}, "key": "[masked]"},
        "picture": {"$bytes": "3q2+7w=="},
    }


def test_what_says_which_document_it_is() -> None:
    """A session whose id has the form of a key is found again under it; in its content the same is masked."""
    key = FORMS["openai"]
    document = {"id": key, "session_id": key, "flow_id": key, "question": key, "context": {"id": key, key: 1}}
    assert masked(document) == {
        "id": key, "session_id": key, "flow_id": key, "question": "[masked]",
        "context": {"id": "[masked]", "[masked]": 1},
    }  # fmt: skip


def test_where_nothing_is_masked_the_bytes_stay() -> None:
    """To the digit, half an emoji and unusual spacing included."""
    for data in (b'{ "n": 1.50, "text":"\\ud83d", "u":"\\u0041" }', encode({"question": "tokens and keys"})):
        assert Mask().document(data) is data


def test_masking_twice_changes_nothing() -> None:
    once = Mask().document(encode({"question": ALL, "token": NAMED}))
    assert Mask().document(once) is once


def test_rules_of_ones_own() -> None:
    """Further names and forms, and names that are harmless here."""
    mask = Mask(["Diary"], [r"case-\d+"], keep=["secret_santa"])
    document = {"diary": "mine", "secret_santa": "Ann", "text": "see case-17", "password": NAMED}
    assert masked(document, mask) == {
        "diary": "[masked]", "secret_santa": "Ann", "text": "see [masked]", "password": "[masked]",
    }  # fmt: skip
    assert masked({"diary": {"a": "b"}, "notes": "mine"}, mask.also(["NOTES"])) == {
        "diary": {"a": "[masked]"}, "notes": "[masked]",
    }  # fmt: skip


def test_switched_off() -> None:
    data = encode({"question": ALL, "token": NAMED})
    assert UNMASKED.document(data) is data
