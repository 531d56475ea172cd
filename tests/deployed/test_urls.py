"""URLs that name several servers."""

from __future__ import annotations

import pytest

from agentic_flywheel.errors import ConfigError
from agentic_flywheel.stores.redis_hosts import parse
from agentic_flywheel.stores.redis_store import RedisStore


def test_user_and_options_count_for_every_server() -> None:
    """Percent-encoding, options and their types are read as in the URL of one server."""
    hosts = parse(
        "rediss+cluster://me:a%2Cb%40c@one:7000,[::1]:7001,three?ssl_check_hostname=no&ssl_ca_certs=%2Fca", 6379
    )
    assert hosts.servers == (("one", 7000), ("::1", 7001), ("three", 6379))
    options = {
        "username": "me",
        "password": "a,b@c",
        "ssl": True,
        "ssl_check_hostname": False,
        "ssl_ca_certs": "/ca",
    }
    assert hosts.options == options


def test_the_path_is_taken_apart() -> None:
    """The name of a primary may hold what a URL has to encode."""
    hosts = parse("redis+sentinel://one/my%2Fprimary/3", 26379)
    assert (hosts.servers, hosts.path, hosts.options) == ((("one", 26379),), ("my/primary", "3"), {"ssl": False})


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://one", "it has to look like"),
        ("redis+sentinel://one/name/zero", "it has to look like"),
        ("redis+sentinel://one/name?colour=red", "colour"),
        ("redis+cluster://one/3", "database 0 only"),
        ("redis+cluster://one?colour=red", "colour"),
        ("redis+cluster://one:port,two", "port"),
        ("redis+cluster://:s3cret/pass@one", "percent-encode"),
        ("redis+sentinel://:s3cret#pass@one/name", "percent-encode"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, problem: str) -> None:
    """It is told at once, and without its password."""
    with pytest.raises(ConfigError, match=problem) as caught:
        RedisStore(url)
    assert "s3cret" not in f"{caught.value}{caught.value.__cause__!r}"
