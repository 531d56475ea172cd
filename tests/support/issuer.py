"""An issuer of tokens: its keys, and a real HTTP server that publishes them."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from tests.support.servers import HOST, free_port

NAME = "https://issuer.example"


class Key:
    """A key pair of an issuer, under an id."""

    def __init__(self, key_id: str) -> None:
        self.id = key_id
        self.private: RSAPrivateKey = generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_pem(self) -> bytes:
        """The public key as everybody may have it."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def published(self) -> dict[str, Any]:
        """The public key as a JWK."""
        found: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(self.private.public_key()))
        return found | {"kid": self.id, "use": "sig", "alg": "RS256"}


class Issuer:
    """Signs tokens and publishes keys while it is `up`; it counts how often it is asked for them."""

    def __init__(self, audience: str) -> None:
        self.audience = audience
        self.port = free_port()
        self.key = Key("first")
        self.published = [self.key]
        self.asked = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def jwks_url(self) -> str:
        """Where the keys are."""
        return f"http://{HOST}:{self.port}/jwks.json"

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a good token; with None, one is left out."""
        moment = int(time.time())
        good = {"iss": NAME, "aud": self.audience, "sub": "anna", "iat": moment, "exp": moment + 600}
        return {name: value for name, value in (good | changed).items() if value is not None}

    def token(self, *, key: Key | None = None, key_id: str | None = None, **changed: Any) -> str:
        """A token that is signed with a key, by default a good one."""
        signing = key or self.key
        return jwt.encode(self.claims(**changed), signing.private, "RS256", headers={"kid": key_id or signing.id})

    def up(self) -> None:
        """Publish the keys."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps({"keys": [key.published for key in issuer.published]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the tests look at what was asked."""

        self._server = ThreadingHTTPServer((HOST, self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
