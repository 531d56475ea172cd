"""The public keys of an issuer, fetched over HTTP when they are needed and kept for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import httpx2
import jwt
from starlette.authentication import AuthenticationError

log = logging.getLogger(__name__)

FRESH_SECONDS = 300.0  # a key that its issuer took back counts for so much longer at the most, while it answers
KEPT_SECONDS = 3600.0  # and for so long while it does not
PAUSE_SECONDS = 5.0  # between two requests, whatever tokens come in
ANSWER_SECONDS = 5.0


class KeysAwayError(AuthenticationError):
    """The issuer's keys cannot be had now, so that no token can be told to be good or bad."""


class Keys:
    """The keys that an issuer signs with, by their id.

    Args:
        url: where the issuer publishes them, as a JWK set.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key with this id; None if the issuer has none. A new id is asked for, though not at any rate.

        Raises:
            KeysAwayError: the issuer does not answer, and what was known is too old.
        """
        if key_id not in self._keys or self._age > FRESH_SECONDS:
            async with self._fetching:  # whoever waited here may find it done
                await self._fetch_if_due(key_id)
        if self._age > KEPT_SECONDS:
            raise KeysAwayError("the keys that tokens are checked with cannot be fetched; try again in a moment")
        return self._keys.get(key_id)

    @property
    def _age(self) -> float:
        return self._clock() - self._fetched

    async def _fetch_if_due(self, key_id: str) -> None:
        if key_id in self._keys and self._age <= FRESH_SECONDS:
            return
        if self._clock() - self._tried < PAUSE_SECONDS:
            return
        self._tried = self._clock()
        try:
            self._keys = await self._fetch()
        except (httpx2.HTTPError, jwt.PyJWTError, ValueError, RecursionError) as error:
            log.error("keys of the issuer: %s gave none (%s)", self._url, _reason(error))
        else:
            self._fetched = self._clock()

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS) as client:
            response = await client.get(self._url)
        response.raise_for_status()
        document = response.json()
        if not isinstance(document, dict):
            raise ValueError("it is no JWK set")
        found = jwt.PyJWKSet.from_dict(document).keys
        return {key.key_id: key for key in found if key.key_id and key.public_key_use in ("sig", None)}


def _reason(error: Exception) -> str:
    if isinstance(error, httpx2.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__
