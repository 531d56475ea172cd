"""What carries commands to Redis, by the URL: one server, the primary that sentinels name, or a cluster."""

from __future__ import annotations

from .redis_client import connections
from .redis_cluster import Cluster, cluster_clients
from .redis_pipe import Carrier, Pipe
from .redis_sentinel import sentinel_connections


def carrier(url: str) -> Carrier:
    """What carries commands to the Redis of a URL; nothing is opened yet.

    Raises:
        ConfigError: the URL cannot be used.
    """
    match url.partition(":")[0].lower().partition("+")[2]:
        case "sentinel":
            return Pipe(sentinel_connections(url))
        case "cluster":
            return Cluster(cluster_clients(url))
        case _:
            return Pipe(connections(url))
