"""Redis with TLS: certificates on either side, and what is said where one does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from agentic_flywheel.errors import ConfigError, Misconfigured, Unavailable
from agentic_flywheel.stores.redis_store import RedisStore
from tests.support.servers import HOST, Server, TlsFiles, start


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return TlsFiles.issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(files: TlsFiles) -> Iterator[Server]:
    """A server that shows a certificate, and wants to see one."""
    with start("redis-server", "--tls-auth-clients", "yes", tls=files) as running:
        yield running


async def refusal(url: str, kind: type[Unavailable] = Misconfigured) -> str:
    """Why a Redis cannot be used."""
    store = RedisStore(url)
    with pytest.raises(kind) as caught:
        await store.check()
    await store.close()
    return str(caught.value)


async def test_both_certificates_fit(server: Server) -> None:
    """An authority and a client certificate in the URL are all that is needed."""
    store = RedisStore(f"{server.url}?{server.options}")
    assert (await store.check())["redis_version"]
    await store.close()


async def test_an_authority_that_is_not_known(server: Server) -> None:
    """A certificate that does not verify is a setting to be changed, and the message names it."""
    assert "ssl_ca_certs" in await refusal(server.url)


async def test_a_name_that_is_not_in_the_certificate(server: Server) -> None:
    """The certificate has to be for the address in the URL."""
    url = f"rediss://[::ffff:{HOST}]:{server.port}?{server.options}"
    assert "a name that its certificate holds" in await refusal(url)


async def test_a_client_certificate_is_missing(server: Server, files: TlsFiles) -> None:
    """It is named, also where the server broke off before its reason was heard."""
    url = f"{server.url}?{urlencode({'ssl_ca_certs': files.authority})}"
    assert "ssl_certfile" in await refusal(url, Unavailable)


async def test_a_client_certificate_of_a_strange_authority(server: Server, files: TlsFiles, tmp_path: Path) -> None:
    """One that the server does not trust is named in the same way."""
    strange = TlsFiles.issue(tmp_path)
    options = {"ssl_ca_certs": files.authority, "ssl_certfile": strange.certificate, "ssl_keyfile": strange.key}
    assert "ssl_certfile" in await refusal(f"{server.url}?{urlencode(options)}", Unavailable)


@pytest.mark.parametrize("kind", ["", "+cluster", "+sentinel"])
@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_that_is_not_there(kind: str, option: str, tmp_path: Path) -> None:
    """It is told when the store is made, and the password is not."""
    with pytest.raises(ConfigError, match="names no PEM file") as caught:
        RedisStore(
            f"rediss{kind}://:s3cret@localhost/name?{option}={tmp_path}/none.pem".replace("/name", PATHS[kind])
        )
    assert "s3cret" not in str(caught.value)


PATHS = {"": "", "+cluster": "", "+sentinel": "/name"}
