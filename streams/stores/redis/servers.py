"""Synchronous connections to a Redis server or to the servers of a cluster: commands out in one write, answers in.

Nothing is tried twice behind the caller's back, save what a cluster answers with MOVED: it was not run. While a slot is
being moved between servers (ASK, TRYAGAIN), calls that concern it raise TryAgain.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.backoff import NoBackoff
from redis.connection import BlockingConnectionPool, Connection, SSLConnection
from redis.exceptions import MovedError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from streams.errors import TryAgain
from streams.stores.redis.address import Address, Node
from streams.stores.redis.errors import as_marquee_error
from streams.stores.redis.keys import BUCKETS
from streams.stores.redis.topology import Owners, owners_of

logger = logging.getLogger(__name__)

RESP: Final = 3

_Pool: Final[Any] = BlockingConnectionPool  # its methods have no types

Command = tuple[bytes | int, ...]


class Request(NamedTuple):
    """A command, and a bucket that its keys are in (all of them, on a cluster)."""

    bucket: int
    command: Command


class Servers:
    """Runs commands where their buckets are. Thread-safe; connects on first use. Raises TryAgain and SlowDown."""

    def __init__(self, address: Address, timeout_s: float, connections: int) -> None:
        """`timeout_s` is of connecting, of a write, of each read and of waiting for one of `connections` a server."""
        self._address = address
        self._timeout_s = timeout_s
        self._connections = connections
        self._lock = threading.Lock()
        self._pools: dict[Node, Any] = {}
        self._owners: Owners | None = None if address.is_cluster else (address.nodes[0],) * BUCKETS
        self._closed = False

    @property
    def is_cluster(self) -> bool:
        """Whether the keys of a command have to be in one bucket."""
        return self._address.is_cluster

    def run(self, requests: Sequence[Request]) -> list[Any]:
        """Return the replies in the order of the requests; the servers work side by side."""
        replies: list[Any] = [None] * len(requests)
        moved = self._run(requests, range(len(requests)), replies)
        if moved and not self.is_cluster:
            raise TryAgain(f"the hot store {self._address.nodes[0]} is one of a cluster: its URL is redis+cluster://…")
        if moved and self._run(requests, moved, replies):
            raise TryAgain("the hot store's servers do not agree on where a slot is")
        return replies

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._closed = True
            for pool in self._pools.values():
                pool.disconnect()
            self._pools.clear()

    def _run(self, requests: Sequence[Request], places: Sequence[int], replies: list[Any]) -> list[int]:
        """Fill in the replies to the requests at some places; return those that are at another server by now."""
        shares = self._shares(requests, places)
        moved: list[int] = []
        with contextlib.ExitStack() as stack:
            borrowed = [(node, stack.enter_context(self._borrowed(node)), share) for node, share in shares]
            for node, connection, share in borrowed:
                with self._failing(node):
                    packed = connection.pack_commands([requests[place].command for place in share])
                    connection.send_packed_command(packed, check_health=False)
            errors: list[tuple[Node, Exception]] = []
            for node, connection, share in borrowed:
                with self._failing(node):
                    for place in share:
                        try:
                            replies[place] = connection.read_response()
                        except MovedError:
                            moved.append(place)
                        except ResponseError as error:
                            errors.append((node, error))
        if (moved or errors) and self.is_cluster:
            self._owners = None
        if errors:
            raise as_marquee_error(errors[0][1], errors[0][0]) from errors[0][1]
        return moved

    def _shares(self, requests: Sequence[Request], places: Sequence[int]) -> list[tuple[Node, list[int]]]:
        """Return which server has which requests, in an order of the servers that all threads keep to."""
        owners = self._owners or self._find_owners()
        shares: dict[Node, list[int]] = {}
        for place in places:
            node = owners[requests[place].bucket]
            if node is None:
                self._owners = None
                raise TryAgain("no server of the hot store has the slot of a state")
            shares.setdefault(node, []).append(place)
        return sorted(shares.items())

    @contextlib.contextmanager
    def _borrowed(self, node: Node) -> Any:
        """Lend a connection of a server's pool; it is closed if it is returned in the middle of something."""
        pool = self._pool(node)
        with self._failing(node):
            connection = pool.get_connection()
        try:
            yield connection
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    @contextlib.contextmanager
    def _failing(self, node: Node) -> Any:
        """Say what to do about an error; the next call looks anew which server has what."""
        try:
            yield
        except (RedisError, OSError) as error:
            if self.is_cluster:
                self._owners = None
            raise as_marquee_error(error, node) from error

    def _find_owners(self) -> Owners:
        """Ask one server after another, in random order, until one answers or the time is up."""
        deadline_s = time.monotonic() + self._timeout_s
        problem = TryAgain("no server of the hot store is known")
        known = list({*self._address.nodes, *self._pools})
        for node in random.sample(known, len(known)):
            try:
                with self._borrowed(node) as connection, self._failing(node):
                    connection.send_command(b"CLUSTER", b"SLOTS", check_health=False)
                    owners = owners_of(connection.read_response(), node)
            except TryAgain as error:
                problem = error
                if time.monotonic() > deadline_s:
                    break
            else:
                self._forget_others(owners)
                self._owners = owners
                return owners
        raise problem

    def _forget_others(self, owners: Owners) -> None:
        """Close the connections to servers that have no states any more."""
        with self._lock:
            for node in set(self._pools) - set(owners) - set(self._address.nodes):
                self._pools.pop(node).disconnect(inuse_connections=False)

    def _pool(self, node: Node) -> Any:
        with self._lock:
            if self._closed:
                raise TryAgain("the hot store is closed")
            if node not in self._pools:
                self._pools[node] = self._new_pool(node)
            return self._pools[node]

    def _new_pool(self, node: Node) -> Any:
        return _Pool(
            max_connections=self._connections,
            timeout=self._timeout_s,
            connection_class=SSLConnection if self._address.has_tls else Connection,
            host=node.host,
            port=node.port,
            db=self._address.database,
            username=self._address.username or None,
            password=self._address.password or None,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            protocol=RESP,
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            redis_connect_func=_on_connect,
        )


def _on_connect(connection: Any) -> None:
    """Do as redis-py does, and say so once a connection if the server may evict states."""
    connection.on_connect()
    connection.send_command(b"INFO", b"memory", check_health=False)
    try:
        policy = eviction_policy(connection.read_response())
    except ResponseError:  # not permitted to ask
        return
    if policy.startswith("allkeys"):
        logger.warning("Redis may evict states (maxmemory-policy): they would be read from the durable store",
                       extra={"policy": policy, "host": connection.host, "port": connection.port})  # fmt: skip


def eviction_policy(info: Any) -> str:
    """Return the policy in the answer to INFO memory, "" if there is none.

    noeviction and volatile-* leave states alone: only pages have a time to live.
    """
    text = bytes(info).decode()
    found = [line.partition(":")[2] for line in text.splitlines() if line.startswith("maxmemory_policy:")]
    return found[0] if found else ""
