"""Who is let in over HTTP: tables of tokens, and tokens of an issuer; each attack is a test."""

import base64
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import jwt
import msgspec
import pytest

from agentic_flywheel.config import HttpAuthSettings, HttpSettings
from agentic_flywheel.config.http import TABLE as ISSUER
from agentic_flywheel.errors import ConfigError
from agentic_flywheel.mcp_server.bearer import guard_of
from agentic_flywheel.mcp_server.jwks import PAUSE_SECONDS, Keys, KeysAwayError
from agentic_flywheel.mcp_server.tokens import TokenTable, new_token, read_table
from agentic_flywheel.session.principal import principal_of
from tests.cli.command import fails, flywheel
from tests.support.http_server import HttpServer, client_of, get, post, result_of
from tests.support.issuer import NAME, Issuer, Key

from .conftest import SETTINGS

OK, REFUSED, AWAY = httpx2.codes.OK, httpx2.codes.UNAUTHORIZED, httpx2.codes.SERVICE_UNAVAILABLE
WHO = '[flows.whoami]\ntarget = "tests.mcp_server.flows:whoami"\n'


def environ_of(folder: Path, http: str) -> dict[str, str]:
    """What tells a server its settings, on SQLite."""
    settings = folder / "flywheel.toml"
    settings.write_text(SETTINGS + WHO + http)
    return {"FLYWHEEL_CONFIG": str(settings), "FLYWHEEL_STATE_DIR": str(folder / "state")}


async def who(url: str, mode: str, token: str) -> str:
    """Whom the server takes the owner of a token for, as a flow sees it."""
    async with client_of(url, mode, token) as client:
        return str((await result_of(client, "run_flow", question="who?", flow_id="whoami"))["response"])


# A table of tokens


@pytest.fixture(scope="module")
def people() -> Mapping[str, tuple[str, str]]:
    """A token and its line for each of some people."""
    made = {name: new_token(name) for name in ("anna", "ben")}
    made["writer"] = new_token("writer", scopes=("write", "read"))
    token, line = new_token("late", days=1)
    ended = msgspec.json.decode(line) | {"expires": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}
    return made | {"late": (token, json.dumps(ended))}


@pytest.fixture(scope="module")
def table(people: Mapping[str, tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """A server with a table in a file."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "tokens").write_text("# people\n\n" + "\n".join(line for _, line in people.values()))
    environ = environ_of(folder, f'[http.auth]\ntokens_file = "{folder / "tokens"}"\n')
    with HttpServer(folder, environ) as server:
        yield server


async def test_a_token_of_the_table_is_let_in(
    table: HttpServer, people: Mapping[str, tuple[str, str]], mode: str
) -> None:
    """And the server knows whose it is: the same one each time, another one for each person."""
    seen = [await who(table.url, mode, people[name][0]) for name in ("anna", "ben", "anna")]
    assert seen == [principal_of(ISSUER, "anna"), principal_of(ISSUER, "ben"), principal_of(ISSUER, "anna")]


async def test_any_other_token_is_refused(table: HttpServer, people: Mapping[str, tuple[str, str]]) -> None:
    """Also an expired one, a hash that was read somewhere, a token that is cut off; on every method."""
    anna, line = people["anna"]
    hashed = json.loads(line)["hash"]
    wrong = (people["late"][0], "x", anna[:-1], anna + "x", anna.upper(), hashed, hashed[7:])
    assert (await post(table.url, anna)).status_code == OK
    for token in (*wrong, None):
        assert (await post(table.url, token)).status_code == REFUSED
    assert (await get(table.url)).status_code == REFUSED
    basic = base64.b64encode(f"anna:{anna}".encode()).decode()
    for header in (f"Basic {basic}", f"Basic {anna}", anna, "Bearer"):
        assert (await post(table.url, Authorization=header)).status_code == REFUSED


async def test_a_refusal_says_that_a_token_is_needed(table: HttpServer) -> None:
    answer = await post(table.url)
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert "resource_metadata" not in answer.headers["www-authenticate"]  # there is no issuer to go to


async def test_a_body_of_a_stranger_is_not_read(table: HttpServer) -> None:
    """Whoever has no token is told so before the size of what they send is looked at."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.post(table.url, content=b"x" * (5 * 1024**2))
    assert answer.status_code == REFUSED


async def test_a_line_that_is_taken_out_of_the_file_ends_its_token(tmp_path: Path) -> None:
    """At once, without a restart; and one that is put in counts at once. A file that is spoilt changes nothing."""
    file = tmp_path / "tokens"
    (anna, its_line), (ben, other) = new_token("anna"), new_token("ben")
    file.write_text(its_line)
    tokens = TokenTable.of_file(file)
    assert await tokens.verify_token(anna) is not None
    assert await tokens.verify_token(ben) is None
    file.write_text(f"{other}\n")
    assert await tokens.verify_token(anna) is None
    assert await tokens.verify_token("\u00e4\ud800") is None
    assert (found := await tokens.verify_token(ben)) is not None
    assert (found.subject, found.token) == ("ben", "")
    for spoilt in ("{", "", "# nobody\n"):
        file.write_text(spoilt)
        assert await tokens.verify_token(ben) is not None
    file.unlink()
    assert await tokens.verify_token(ben) is not None
    assert await tokens.verify_token(anna) is None


async def test_scopes_that_every_token_needs(tmp_path: Path, people: Mapping[str, tuple[str, str]]) -> None:
    """From a table that the environment holds."""
    environ = environ_of(tmp_path, '[http.auth]\nscopes = ["write"]\n')
    environ["FLYWHEEL_TOKENS"] = "\n".join(line for _, line in people.values())
    with HttpServer(tmp_path, environ) as server:
        assert (await post(server.url, people["writer"][0])).status_code == OK
        assert (await post(server.url, people["anna"][0])).status_code == httpx2.codes.FORBIDDEN
        metrics = f"{server.base}/metrics"
        for name, status in (("writer", OK), ("anna", httpx2.codes.FORBIDDEN), ("late", REFUSED)):
            answer = await get(metrics, Authorization=f"Bearer {people[name][0]}")
            assert answer.status_code == status


def test_the_command_that_makes_a_token() -> None:
    """Its line lets the token in and does not tell it; each call makes another one."""
    made = flywheel("users", "token", "anna b", "--days", "30", "--scope", "a", "--scope", "b", "--json").json
    (line,) = read_table(made["line"], "here")
    assert made["token"] not in made["line"]
    assert line.hash == f"sha256:{sha256(made['token'].encode()).hexdigest()}"
    assert (line.subject, line.scopes) == ("anna b", ("a", "b"))
    assert line.expires is not None
    assert timedelta(days=29) < line.expires - datetime.now(UTC) <= timedelta(days=30)
    text = flywheel("users", "token", "anna").text.splitlines()
    assert text[1].startswith("flywheel_")
    assert len(base64.urlsafe_b64decode(text[1].removeprefix("flywheel_") + "=")) == 32
    assert read_table(text[-1], "here")[0].expires is None
    assert "subject" in fails(2, "users", "token", " ")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "# only a comment",
        "not json",
        '{"subject":"anna"}',
        '{"subject":"anna","hash":"SECRET-WORD"}',
        '{"subject":"anna","hash":"md5:SECRET-WORD"}',
        '{"subject":"","hash":"sha256:' + "0" * 64 + '"}',
        '{"subject":"anna","hash":"sha256:' + "0" * 64 + '","expires":"2027-01-01T00:00:00"}',
        '{"subject":"anna","hash":"sha256:' + "0" * 64 + '","scopes":"SECRET-WORD"}',
        '{"subject":"anna","hash":"sha256:' + "0" * 64 + '","expiry":1}',
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_place(wrong: str) -> None:
    """And is not quoted: somebody may have put a token in the place of its hash."""
    with pytest.raises(ConfigError) as caught:
        read_table(wrong, "tokens.txt")
    assert "tokens.txt" in str(caught.value)
    assert "SECRET-WORD" not in str(caught.value)


@pytest.mark.parametrize(
    ("auth", "says"),
    [
        ({"tokens_file": "missing.txt"}, "missing.txt cannot be read: No such file"),
        ({"tokens": "x", "issuer": NAME}, "both"),
        ({"issuer": NAME}, "http.auth.jwks_url"),
        ({"jwks_url": "https://issuer.example/jwks"}, "http.auth.issuer"),
        ({"audience": "x"}, "http.auth.issuer"),
        ({"issuer": NAME, "jwks_url": "http://issuer.example/jwks"}, "https"),
        ({"issuer": "no url", "jwks_url": "https://issuer.example/jwks"}, "http.auth.issuer"),
        *(
            (
                {"issuer": NAME, "jwks_url": "https://issuer.example/jwks", "algorithms": found},
                "http.auth.algorithms",
            )
            for found in ((), ("none",), ("RS256", "HS256"))
        ),
    ],
)
def test_settings_that_cannot_guard_are_refused(auth: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        guard_of(HttpSettings(url="https://flywheel.example/mcp", auth=HttpAuthSettings(**auth)))


# Tokens of an issuer

AUDIENCE = "https://flywheel.example/mcp"


def issuer_settings(issuer: Issuer) -> str:
    """What makes a server take the issuer's tokens, if they have the scope `use`."""
    auth = f'issuer = "{NAME}"\njwks_url = "{issuer.jwks_url}"\nscopes = ["use"]\n'
    return f'[http]\nurl = "{AUDIENCE}"\n[http.auth]\n{auth}'


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An issuer whose keys can be had."""
    with Issuer(AUDIENCE) as made:
        yield made


@pytest.fixture(scope="module")
def guarded(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """A server that takes the issuer's tokens."""
    folder = tmp_path_factory.mktemp("guarded")
    with HttpServer(folder, environ_of(folder, issuer_settings(issuer))) as server:
        yield server


async def test_a_token_of_the_issuer_is_let_in(guarded: HttpServer, issuer: Issuer, mode: str) -> None:
    """The principal is of issuer and subject: a person of a table with the same name is another one."""
    seen = await who(guarded.url, mode, issuer.token(scope="use other"))
    assert seen == principal_of(NAME, "anna") != principal_of(ISSUER, "anna")
    assert await who(guarded.url, mode, issuer.token(sub="ben", scp=["use"])) == principal_of(NAME, "ben")
    assert await who(guarded.url, mode, issuer.token(aud=["x", AUDIENCE], scope="use")) == seen


def _claimed(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """What a signature is made over."""
    return ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def with_public_key_as_secret(issuer: Issuer, algorithm: str) -> str:
    """A token that is signed with what everybody knows, for a verifier that takes it for a shared secret."""
    claimed = _claimed({"alg": algorithm, "typ": "JWT", "kid": issuer.key.id}, issuer.claims(scope="use"))
    digest = hmac.new(issuer.key.public_pem, claimed.encode(), "sha256").digest()
    return f"{claimed}.{_encoded(digest)}"


def unsigned(issuer: Issuer, algorithm: str) -> str:
    """A token without a signature."""
    return _claimed({"alg": algorithm, "kid": issuer.key.id}, issuer.claims(scope="use")) + "."


def attacks(issuer: Issuer) -> dict[str, str]:
    """Tokens that must not be let in, each by what is wrong with it."""
    moment, good = int(time.time()), issuer.token(scope="use")
    header, claims, signature = good.split(".")
    mine = Key(issuer.key.id)
    own_key = {"alg": "RS256", "kid": "mine", "jwk": mine.published, "jku": "http://127.0.0.1:1/jwks"}
    forged = _encoded(json.dumps(issuer.claims(sub="root", scope="use")).encode())
    signed = {
        "another audience": issuer.token(aud="https://other.example/mcp", scope="use"),
        "an audience that begins alike": issuer.token(aud=AUDIENCE + "/x", scope="use"),
        "no audience": issuer.token(aud=None, scope="use"),
        "another issuer": issuer.token(iss="https://evil.example", scope="use"),
        "no issuer": issuer.token(iss=None, scope="use"),
        "expired": issuer.token(exp=moment - 60, scope="use"),
        "no end": issuer.token(exp=None, scope="use"),
        "not yet": issuer.token(nbf=moment + 600, scope="use"),
        "no subject": issuer.token(sub=None, scope="use"),
        "a subject that is no text": issuer.token(sub=7, scope="use"),
        "unknown key": issuer.token(key_id="other", scope="use"),
        "key of somebody else": issuer.token(key=mine, scope="use"),
        "its own key": jwt.encode(issuer.claims(scope="use"), mine.private, "RS256", headers=own_key),
        "another algorithm of the same key": jwt.encode(
            issuer.claims(scope="use"), issuer.key.private, "RS512", headers={"kid": issuer.key.id}
        ),
        "no key id": jwt.encode(issuer.claims(scope="use"), issuer.key.private, "RS256"),
    }
    made = {
        "unsigned": f"{header}.{claims}.",
        "signature cut off": f"{header}.{claims}.{signature[:-8]}",
        "claims changed": f"{header}.{forged}.{signature}",
        "deep": f"{_encoded(b'[' * 40_000)}.{claims}.{signature}",
        "no token": "a.b.c",
        "a key id that is no text": _claimed({"alg": "RS256", "kid": ["first"]}, issuer.claims()) + f".{signature}",
        **{f"algorithm {name}": unsigned(issuer, name) for name in ("none", "None", "NONE", "")},
        **{f"public key as {name}": with_public_key_as_secret(issuer, name) for name in ("HS256", "RS256")},
    }
    return signed | made


async def test_every_other_token_is_refused(guarded: HttpServer, issuer: Issuer) -> None:
    assert (await post(guarded.url, issuer.token(scope="use"))).status_code == OK
    answers = {what: (await post(guarded.url, token)).status_code for what, token in attacks(issuer).items()}
    assert answers == dict.fromkeys(answers, REFUSED)
    assert (
        await post(guarded.url, issuer.token())
    ).status_code == httpx2.codes.FORBIDDEN  # good, and lacks a scope
    assert (await post(guarded.url, issuer.token(scope="use"))).status_code == OK


async def test_clients_are_told_where_to_get_a_token(guarded: HttpServer) -> None:
    """By the metadata of the protected resource (RFC 9728), which the refusal names."""
    refusal = (await post(guarded.url)).headers["www-authenticate"]
    place = "/.well-known/oauth-protected-resource/mcp"
    assert f'resource_metadata="https://flywheel.example{place}"' in refusal
    told = (await get(guarded.base + place)).json()
    assert told["resource"] == AUDIENCE
    assert told["authorization_servers"] == [NAME]
    assert told["scopes_supported"] == ["use"]


async def test_logs_and_answers_hold_no_token(guarded: HttpServer, issuer: Issuer, table: HttpServer) -> None:
    """Neither a good one nor a bad one, nor a part that could be used."""
    shown = ""
    tokens = [issuer.token(scope="use"), "planted-secret", *attacks(issuer).values()]
    for server in (guarded, table):
        for token in tokens:
            answer = await post(server.url, token)
            shown += answer.text + str(answer.headers)
    shown += guarded.log + table.log
    assert "a token was refused: ExpiredSignatureError" in guarded.log  # it does log
    assert "a token was refused: unknown" in table.log
    assert "planted-secret" not in shown
    for token in tokens:
        assert not [part for part in token.split(".") if len(part) > 10 and part in shown]


async def test_a_server_without_its_issuer(tmp_path: Path) -> None:
    """It says that it cannot tell, which is not that the token is bad, and goes on when the issuer is there."""
    issuer = Issuer(AUDIENCE)
    with HttpServer(tmp_path, environ_of(tmp_path, issuer_settings(issuer))) as server:
        answer = await post(server.url, issuer.token(scope="use"))
        assert (answer.status_code, "try again" in answer.text) == (AWAY, True)
        assert (await post(server.url)).status_code == REFUSED
        assert (await get(f"{server.base}/health")).status_code == OK
        assert issuer.jwks_url in server.log
        with issuer:
            deadline = time.monotonic() + 60
            while (answer := await post(server.url, issuer.token(scope="use"))).status_code == AWAY:
                assert time.monotonic() < deadline
        assert answer.status_code == OK
        assert (await post(server.url, issuer.token(scope="use"))).status_code == OK  # it is away again
    assert "Traceback" not in server.log


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_key_that_is_new_is_fetched() -> None:
    """Once, whatever unknown keys are named; a key that was taken back ends."""
    with Issuer(AUDIENCE) as issuer:
        keys, old, new = Keys(issuer.jwks_url, clock=(clock := Clock())), issuer.key, Key("second")
        assert await keys.find(old.id)
        assert await keys.find(old.id)
        assert issuer.asked == 1
        issuer.published = [new]
        clock.now += PAUSE_SECONDS
        assert await keys.find(new.id)
        assert await keys.find(old.id) is None
        for number in range(100):
            assert await keys.find(f"made up {number}") is None
        assert issuer.asked == 2


async def test_a_key_that_was_taken_back_ends_by_itself() -> None:
    """After minutes, also if nobody names another one."""
    with Issuer(AUDIENCE) as issuer:
        keys = Keys(issuer.jwks_url, clock=(clock := Clock()))
        assert await keys.find(issuer.key.id)
        issuer.published = [Key("second")]
        clock.now += 301
        assert await keys.find(issuer.key.id) is None


async def test_known_keys_are_kept_while_the_issuer_is_away() -> None:
    """For an hour, and not longer."""
    with Issuer(AUDIENCE) as issuer:
        keys = Keys(issuer.jwks_url, clock=(clock := Clock()))
        assert await keys.find(issuer.key.id)
    clock.now += 3600
    assert await keys.find(issuer.key.id)
    clock.now += 1
    with pytest.raises(KeysAwayError):
        await keys.find(issuer.key.id)
    with issuer:
        clock.now += PAUSE_SECONDS
        assert await keys.find(issuer.key.id)


def test_principals_of_different_people_differ() -> None:
    """However subjects and issuers are put together."""
    pairs = [
        ("a", "b"),
        ("a b", ""),
        ("", "a b"),
        ("ab", "c"),
        ("a", "bc"),
        (None, "a"),
        ("null", "a"),
        ('a","b', "c"),
    ]
    found = {principal_of(issuer, subject) for issuer, subject in pairs}
    assert len(found) == len(pairs)
    assert all(len(each) == 32 for each in found)
    assert principal_of("a", "b") == principal_of("a", "b")
