"""The Redis that all contestants share, each in a database of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from tests.support.servers import start

# The file only grows, so that what a save adds to it can be seen.
_OPTIONS = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
_LARGE = 8 * 1024**2  # bytes; less than that is on the disk before anybody notices
_PATIENCE = 5.0  # seconds


class SharedServer:
    """A running server, and what it says of itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = redis.Redis.from_url(url)
        self._settled_at = self.file_bytes()

    def database(self, number: int) -> str:
        """The URL of a database."""
        return f"{self.url}/{number}"

    def file_bytes(self) -> int:
        """The size of the append-only file, when all that was acknowledged is in it."""
        self._wait_for_the_file()
        return int(self._client.info("persistence")["aof_current_size"])

    def settle(self) -> None:
        """Wait until the disk has what was written since the last time, if that was much.

        The file is flushed once a second: without this, whoever comes after one that rewrites megabytes would
        pay for it.
        """
        if self.file_bytes() - self._settled_at > _LARGE:
            time.sleep(1.1)
            self._wait_for_the_file()
        self._settled_at = self.file_bytes()

    def _wait_for_the_file(self) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            state = self._client.info("persistence")
            if not state["aof_buffer_length"] and not state["aof_pending_bio_fsync"]:
                return
            time.sleep(0.01)

    def memory_bytes(self, number: int) -> int:
        """What the keys of a database take in memory, by the server's own account."""
        with redis.Redis.from_url(self.database(number)) as client:
            keys: Any = client.scan_iter(count=1000)
            return sum(int(client.memory_usage(key, samples=0) or 0) for key in keys)

    def flush(self, number: int) -> None:
        """Empty a database."""
        with redis.Redis.from_url(self.database(number)) as client:
            client.flushdb()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @property
    def version(self) -> str:
        """The server's version."""
        return str(self._client.info("server")["redis_version"])


@contextmanager
def shared_server() -> Iterator[SharedServer]:
    """A server that runs for the time of the block.

    Raises:
        ServerMissingError: there is no redis-server on the PATH; says how to get it.
    """
    with start("redis-server", *_OPTIONS) as server:
        shared = SharedServer(server.url)
        try:
            yield shared
        finally:
            shared.close()
