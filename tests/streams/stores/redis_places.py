"""Places for tests on shared Redis servers: a random prefix, all of whose keys are deleted afterwards."""

from __future__ import annotations

import redis

from streams.stores.redis.address import Address


def delete_all(address: Address) -> None:
    """Delete every key of the address's prefix, and of prefixes that begin like it."""
    if address.is_cluster:
        first = address.nodes[0]
        with redis.RedisCluster(first.host, first.port, legacy_responses=False) as cluster:
            _delete(cluster, address.prefix)
    else:
        with redis.Redis(address.nodes[0].host, address.nodes[0].port, address.database) as client:
            _delete(client, address.prefix)


def _delete(client: redis.Redis | redis.RedisCluster, prefix: str) -> None:
    for key in client.scan_iter(match=f"{prefix}*", count=10_000):
        client.unlink(key)
