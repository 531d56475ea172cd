"""Users of one server over HTTP, each with a token: nobody reaches what is another's, by any tool or resource."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pytest
from mcp import Client, MCPError
from mcp.types import TextContent, Tool
from pydantic import AnyUrl

from agentic_flywheel.config.http import TABLE
from agentic_flywheel.mcp_server.tokens import new_token
from agentic_flywheel.session.principal import principal_of
from tests.cli.command import flywheel
from tests.support.http_server import HttpServer, client_of, result_of
from tests.support.servers import Server

SETTINGS = """\
default_flow = "echo"
[journal]
budget_ms = 5000
[flows.echo]
target = "tests.mcp_server.flows:echo"
"""
NOBODYS = "session_" + 32 * "0"
SECRET = "the owl flies at midnight"  # what Anna says, and nobody else may see
PEOPLE = ("anna", "ben")


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder, and what tells commands and servers where things are kept."""
    folder = tmp_path_factory.mktemp(cast(str, request.param))
    tokens = {name: new_token(name) for name in PEOPLE}
    for name, (token, _) in tokens.items():
        (folder / name).write_text(token)
    (folder / "tokens").write_text("\n".join(line for _, line in tokens.values()))
    (folder / "flywheel.toml").write_text(f'{SETTINGS}[http.auth]\ntokens_file = "{folder / "tokens"}"\n')
    environ = {"FLYWHEEL_CONFIG": str(folder / "flywheel.toml"), "FLYWHEEL_STATE_DIR": str(folder / "state")}
    if request.param == "redis":
        environ["FLYWHEEL_REDIS_URL"] = cast(Server, request.getfixturevalue("redis_server")).url
        environ["FLYWHEEL_PREFIX"] = folder.name
    return folder, environ


@pytest.fixture(scope="module")
def server(place: tuple[Path, dict[str, str]]) -> Iterator[HttpServer]:
    """A server with a table of tokens."""
    folder, environ = place
    with HttpServer(folder, environ) as running:
        yield running


@pytest.fixture(params=["auto", "legacy"])
async def people(
    request: pytest.FixtureRequest, server: HttpServer, place: tuple[Path, dict[str, str]]
) -> AsyncIterator[tuple[Client, Client]]:
    """Anna and Ben, each with a client."""
    ready, over = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def meet() -> None:  # in one task from the first to the last: what the SDK opens it wants closed there
        async with (
            client_of(server.url, request.param, (place[0] / "anna").read_text()) as anna,
            client_of(server.url, request.param, (place[0] / "ben").read_text()) as ben,
        ):
            ready.set_result((anna, ben))
            await over.wait()

    meeting = asyncio.create_task(meet())
    await asyncio.wait([meeting, ready], return_when=asyncio.FIRST_COMPLETED)
    yield ready.result()
    over.set()
    await meeting


async def begin(client: Client) -> dict[str, Any]:
    """A session in which something was asked: its handle, and its turn."""
    reply = await result_of(client, "run_flow", question=SECRET)
    await result_of(client, "update_context", session_id=reply["session_id"], set={"topic": SECRET})
    return reply


async def answer(client: Client, tool: str, arguments: dict[str, Any]) -> tuple[bool, str]:
    """Whether a tool failed, and all that it said."""
    result = await client.call_tool(tool, arguments)
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    return bool(result.is_error), text + json.dumps(result.structured_content)


def arguments_of(tool: Tool, session_id: str, turn_id: str) -> dict[str, Any]:
    """What a tool has to be given, with these ids where it takes any."""
    values = {
        "session_id": session_id,
        "execution_id": turn_id,
        "turn_id": turn_id,
        "question": "q",
        "response": "r",
        "flow_id": "echo",
        "subject": "ben",
        "set": {"stolen": True},
    }
    known = tool.input_schema["properties"]
    needed = {name: values[name] for name in tool.input_schema.get("required", ())}
    return needed | {name: values[name] for name in ("session_id", "execution_id", "set") if name in known}


async def test_each_tool_takes_a_foreign_handle_for_an_unknown_one(people: tuple[Client, Client]) -> None:
    """Every tool there is that takes a session or an execution, also those that will be added one day."""
    anna, ben = people
    made = await begin(anna)
    before = await result_of(anna, "resume_session", session_id=made["session_id"])
    tried = 0
    for tool in (await ben.list_tools()).tools:
        if not {"session_id", "execution_id"} & tool.input_schema["properties"].keys():
            continue
        foreign = await answer(ben, tool.name, arguments_of(tool, made["session_id"], made["turn_id"]))
        unknown = await answer(ben, tool.name, arguments_of(tool, NOBODYS, "turn_0"))
        said = foreign[1].replace(made["session_id"], NOBODYS).replace(made["turn_id"], "turn_0")
        assert (foreign[0], said) == (True, unknown[1]), tool.name
        assert SECRET not in said
        tried += 1
    assert tried >= 9
    assert await result_of(anna, "resume_session", session_id=made["session_id"]) == before


async def test_a_resource_of_another_is_an_unknown_one(people: tuple[Client, Client]) -> None:
    """And so is the prompt that goes on with it."""
    anna, ben = people
    made = await begin(anna)
    uri = "flywheel://session/{}"
    assert SECRET in str(await anna.read_resource(str(AnyUrl(uri.format(made["session_id"])))))
    said = []
    for session_id in (made["session_id"], NOBODYS):
        with pytest.raises(MCPError) as refused:
            await ben.read_resource(str(AnyUrl(uri.format(session_id))))
        said.append(str(refused.value).replace(session_id, NOBODYS))
    assert said[0] == said[1]
    (prompt,) = (await ben.list_prompts()).prompts
    for session_id in (made["session_id"], NOBODYS):
        with pytest.raises(MCPError) as refused:
            await ben.get_prompt(prompt.name, {"session_id": session_id})
        said.append(str(refused.value).replace(session_id, NOBODYS))
    assert said[2] == said[3]


async def test_listing_and_resuming_without_a_handle_show_one_s_own(people: tuple[Client, Client]) -> None:
    """However lately others used theirs."""
    anna, ben = people
    own = await result_of(ben, "create_session", title="Ben's")
    made = await begin(anna)
    mine = {line["session_id"] for line in (await result_of(ben, "list_sessions"))["sessions"]}
    assert own["session_id"] in mine
    assert made["session_id"] not in mine
    assert (await result_of(ben, "resume_session"))["session_id"] == own["session_id"]


ODD = {
    "colon": "a:b",
    "star": "*",
    "braces": "{x}",
    "pattern": "session_*",
    "class": "[a-z]",
    "NUL": "a\x00b",
    "newline": "a\nb",
    "path": "../../etc/passwd",
    "1 MB": "x" * 1_000_000,
    "empty": "",
    "percent": "%1F",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_odd_handles_lead_nowhere(people: tuple[Client, Client], odd: str) -> None:
    """Refused or unknown, in few words, and the server serves on."""
    anna, ben = people
    await begin(anna)
    for tool in ("resume_session", "update_context", "delete_session", "get_execution", "fork_session"):
        given = {"execution_id": odd} if tool == "get_execution" else {"session_id": odd, "set": {"a": 1}}
        if tool not in ("update_context", "get_execution"):
            del given["set"]
        failed, said = await answer(ben, tool, given)
        assert failed, tool
        assert SECRET not in said
        assert len(said) < 3 * len(odd) + 1000
    assert not (await ben.call_tool("list_sessions", {})).is_error


async def test_a_name_in_the_store_is_no_handle(people: tuple[Client, Client]) -> None:
    """A handle that imitates how the store names what is Anna's: by every spelling of what stands in between."""
    anna, ben = people
    made = await begin(anna)
    principal = principal_of(TABLE, "anna")
    for between in (":", "\x1f", "%1F", "%3A", "/", ".", quote("\x1f")):
        failed, said = await answer(ben, "resume_session", {"session_id": principal + between + made["session_id"]})
        assert failed
        assert SECRET not in said


async def test_a_forged_owner_is_only_data(people: tuple[Client, Client]) -> None:
    """Who writes Anna's name into their own session has given her nothing, and taken nothing."""
    anna, ben = people
    forged = {"owner": principal_of(TABLE, "anna"), "metadata": {"owner": principal_of(TABLE, "anna")}}
    made = await result_of(ben, "create_session", context=forged)
    listed = [line["session_id"] for line in (await result_of(anna, "list_sessions"))["sessions"]]
    assert made["session_id"] not in listed
    assert (await answer(anna, "resume_session", {"session_id": made["session_id"]}))[0]
    assert (await result_of(ben, "resume_session", session_id=made["session_id"]))["session_id"] == made[
        "session_id"
    ]


async def test_shared_and_handed_over_by_its_owner(people: tuple[Client, Client]) -> None:
    """Over MCP: read, then owned; the handle stays."""
    anna, ben = people
    made = await begin(anna)
    handle = {"session_id": made["session_id"]}
    await result_of(anna, "share_session", **handle, subject="ben")
    assert SECRET in json.dumps(await result_of(ben, "resume_session", **handle))
    failed, said = await answer(ben, "run_flow", {"question": "mine?", **handle})
    assert failed
    assert "fork" in said
    await result_of(anna, "share_session", **handle, subject="ben", allowed=False)
    assert (await answer(ben, "resume_session", handle))[0]
    await result_of(anna, "hand_over_session", **handle, subject="ben")
    assert (await answer(anna, "resume_session", handle))[0]
    assert (await result_of(ben, "run_flow", question="mine!", **handle))["response"] == "you said mine!"
    assert (await result_of(ben, "get_execution", execution_id=made["turn_id"]))["question"] == SECRET


async def test_what_users_say_is_in_no_log(people: tuple[Client, Client], server: HttpServer) -> None:
    """Nor are their tokens or handles, whatever fails."""
    anna, ben = people
    made = await begin(anna)
    await answer(ben, "resume_session", {"session_id": made["session_id"]})
    await answer(anna, "run_flow", {"question": SECRET, "flow_id": "none"})
    assert SECRET not in server.log
    assert "flywheel_" not in server.log


@pytest.fixture
def here(place: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that are run find what the server serves."""
    for name, value in place[1].items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("here")
async def test_erasing_a_user(people: tuple[Client, Client], place: tuple[Path, dict[str, str]]) -> None:
    """All of it is gone, from the store's own bytes too; others keep theirs."""
    anna, ben = people
    made, kept = await begin(anna), await begin(ben)
    folder, environ = place
    said = await asyncio.to_thread(flywheel, "users", "erase", "anna", "--yes", "--json")
    assert said.json["left"] == 0
    assert said.json["erased"] > 1
    assert (await answer(anna, "resume_session", {"session_id": made["session_id"]}))[0]
    assert (await answer(anna, "get_execution", {"execution_id": made["turn_id"]}))[0]
    assert (await result_of(anna, "list_sessions"))["sessions"] == []
    assert SECRET in json.dumps(await result_of(ben, "resume_session", session_id=kept["session_id"]))
    left = await _bytes_of(environ, folder, principal_of(TABLE, "anna"))
    assert made["turn_id"].encode() not in left
    again = await asyncio.to_thread(flywheel, "users", "erase", "anna", "--yes", "--json")
    assert again.json["erased"] == 0


async def _bytes_of(environ: dict[str, str], folder: Path, principal: str) -> bytes:
    """All that is stored: the files, and where there is a Redis, its keys and strings."""
    found = b"".join(path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file())
    if "FLYWHEEL_REDIS_URL" in environ:
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(environ["FLYWHEEL_REDIS_URL"]) as client:
            async for key in client.scan_iter(f"{environ['FLYWHEEL_PREFIX']}:*"):
                kind = await client.type(key)
                found += key + (await client.get(key) or b"" if kind == b"string" else b"")
                # What stays of a user are notes that their sessions were deleted.
                assert principal.encode() not in key or b":tombstone:" in key
    return found


@pytest.mark.usefixtures("here")
async def test_the_operator_looks_at_what_a_user_has(people: tuple[Client, Client]) -> None:
    """With --user; without, at what is nobody's."""
    made = await begin(people[1])
    listed = await asyncio.to_thread(flywheel, "--user", "ben", "sessions", "list", "--json")
    assert made["session_id"] in [session["id"] for session in listed.json]
    shown = await asyncio.to_thread(flywheel, "--user", "ben", "sessions", "show", made["session_id"])
    assert SECRET in shown.text
    assert (await asyncio.to_thread(flywheel, "sessions", "list", "--json")).json == []
