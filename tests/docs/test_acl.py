"""The ACL line of docs/operators.md: it suffices for all that we do, and no right of it is idle."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis

from tests.docs.acl import PASSWORD, on_a_server
from tests.support.everything import fails_on
from tests.support.servers import Server

WORDS = on_a_server()
COMMANDS = [word for word in WORDS if word.startswith("+")]


@pytest.fixture(scope="module")
def admin(kv_server: Server) -> Iterator[Redis]:
    """The server's owner, in the database that the tests of this module use."""
    with closing(Redis.from_url(f"{kv_server.url}/1022")) as client:
        yield client
        client.acl_deluser("flywheel")
        client.flushdb()


async def wrong_with(words: list[str], admin: Redis, server: Server) -> list[str]:
    """What a user with these rights cannot do of all that we do."""
    admin.flushdb()
    admin.script_flush()
    admin.acl_deluser("flywheel")
    admin.execute_command("ACL", "SETUSER", "flywheel", *words)  # type: ignore[no-untyped-call]  # redis-py's own
    place = server.url.removeprefix("redis://")
    return await fails_on(f"redis://flywheel:{PASSWORD}@{place}/1022", admin)


async def test_it_suffices(admin: Redis, kv_server: Server) -> None:
    """A user with these rights can do all that we do, on each kind of server."""
    assert await wrong_with(WORDS, admin, kv_server) == []


@pytest.mark.parametrize("idle", COMMANDS)
async def test_none_is_idle(idle: str, admin: Redis, kv_server: Server) -> None:
    """Without any one of them, something that we do fails."""
    assert await wrong_with([word for word in WORDS if word != idle], admin, kv_server)
