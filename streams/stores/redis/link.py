"""Keeps one server connected, and its changes followed, for as long as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from streams.errors import TryAgain
from streams.stores.redis.address import Address, Node
from streams.stores.redis.connection import Connection, Replies
from streams.stores.redis.keys import TAGS
from streams.stores.redis.topology import Owners, owners_of

HEARTBEAT_S: Final = 0.25
"""How often a server is asked something, so that a connection that is dead without saying so is noticed."""

STALE_S: Final = 1.0
"""A version is believed for as long as the server has answered something that was asked within this time: it was the
stored one at most so long ago. (A server that its cluster has cut off notices only after cluster-node-timeout.)"""

FIRST_RETRY_S: Final = 0.05
MAX_RETRY_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 1.0
"""Nobody waits for it: what is not connected is not asked."""


class Link:
    """One server. `connection` is there while it is connected and its changes are followed.

    `on_up`, `on_down` and `on_changed` are called in the order of what happened: connected, with the owners that a
    cluster's server names; lost, or not got; states changed, by the names of their keys, None for any.
    """

    def __init__(
        self,
        node: Node,
        address: Address,
        followed: Iterable[bytes],
        *,
        on_up: Callable[[Link, Owners | None], None],
        on_down: Callable[[Link], None],
        on_changed: Callable[[list[bytes] | None], None],
    ) -> None:
        self.node = node
        self.connection: Connection | None = None
        self.problem: str | None = None
        """Why the last attempt to connect failed, or the connection was lost; None while there is nothing to say."""
        self._address = address
        self._followed = tuple(followed)
        self._on_up = on_up
        self._on_down = on_down
        self._on_changed = on_changed
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"redis {node}")

    async def close(self) -> None:
        """Close the connection."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def is_fresh(self, now_s: float) -> bool:
        """Return whether what the server said to change until STALE_S ago is known (`now_s` is loop time)."""
        return self.connection is not None and now_s - self.connection.heard_s < STALE_S

    async def owners(self) -> Owners:
        """Return the owners that a cluster's server names. Raises TryAgain."""
        if self.connection is None:
            raise TryAgain(self.problem or "not connected")
        return owners_of((await self.connection.ask((b"CLUSTER", b"SLOTS")))[0], self.node)

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            connection: Connection | None = None
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    connection = await self._connect()
                    owners = await self._greet(connection)
                retry_s = FIRST_RETRY_S
                self.connection, self.problem = connection, None
                self._on_up(self, owners)
                await self._beat(connection, owners)
            except (OSError, TryAgain) as error:  # TimeoutError is an OSError
                self.problem = _words(error, self.node)
            finally:
                self.connection = None
                if connection is not None:
                    connection.drop(self.problem or "closed")
            self._on_down(self)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self._address.has_tls else None
        _, connection = await loop.create_connection(
            lambda: Connection(loop, self.node, self._pushed), self.node.host, self.node.port, ssl=context
        )
        return connection

    async def _greet(self, connection: Connection) -> Owners | None:
        """Speak RESP3, follow changes, and ask a cluster's server who owns what."""
        address = self._address
        hello = [b"HELLO", b"3"]
        if address.password:
            hello += [b"AUTH", (address.username or "default").encode(), address.password.encode()]
        commands = [hello]
        if address.database:
            commands.append([b"SELECT", b"%d" % address.database])
        if self._followed:
            prefixes = [part for prefix in self._followed for part in (b"PREFIX", prefix)]
            commands.append([b"CLIENT", b"TRACKING", b"ON", b"BCAST", *prefixes])
        if not address.is_cluster:
            await connection.ask(*commands)
            return None
        replies = await connection.ask(*commands, (b"CLUSTER", b"SLOTS"))
        return owners_of(replies[-1], self.node)

    async def _beat(self, connection: Connection, owners: Owners | None) -> None:
        """Ask for a key that the server owns, over and over, until an answer is an error or does not come."""
        bucket = owners.index(self.node) if owners and self.node in owners else 0
        command = (b"EXISTS", b"%s:heartbeat:{%s}" % (self._address.prefix.encode(), TAGS[bucket]))

        def answered(replies: Replies) -> None:
            if isinstance(replies, list) and isinstance(replies[0], Exception):
                connection.drop(str(replies[0]))

        while not connection.lost.is_set():
            connection.call((command,), answered)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await connection.lost.wait()
            if connection.is_overdue(STALE_S):
                connection.drop(f"no answer within {STALE_S} s")
        raise TryAgain(connection.reason)

    def _pushed(self, push: list[Any]) -> None:
        if push[0] == b"invalidate":
            self._on_changed(push[1])


def _words(error: Exception, node: Node) -> str:
    if isinstance(error, TryAgain):
        return str(error)
    return f"the hot store {node} is away: {error or f'no connection within {CONNECT_TIMEOUT_S} s'}"
