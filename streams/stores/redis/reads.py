"""LiveReads on Redis: each server has one connection, on which pages read and Redis tells what changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import hiredis

from streams.errors import MarqueeError, TryAgain
from streams.stores.live_reads import LiveState, live_state
from streams.stores.protocol import POSITION_BYTES
from streams.stores.redis.address import Address, Node
from streams.stores.redis.connection import Connection, Replies
from streams.stores.redis.errors import reply_error
from streams.stores.redis.keys import BUCKETS, Keys, bucket_of
from streams.stores.redis.known import Known
from streams.stores.redis.link import Link
from streams.stores.redis.scripts import PUT_PAGE
from streams.stores.redis.topology import Owners

MAX_PAGES: Final = 16
"""Pages kept of one state (other surfaces, parameters, models); one more drops the others."""

MAX_UNSENT_BYTES: Final = 1 << 20
"""Pages are dropped while so much waits to be sent."""

REFRESH_S: Final = 5.0
"""How often a cluster is asked who owns what, besides whenever something points to a change."""

REFRESH_AFTER_S: Final = 0.1
"""How soon after such a sign; all signs until then count for one."""


class RedisReads:
    """LiveReads of a Redis server or cluster for the event loop that calls `start`.

    `kinds` are those whose changes are followed; `timeout_s` is of a read, waiting for a first connection included.
    """

    def __init__(self, address: Address, kinds: Sequence[str], timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._names = {kind: Keys(address.prefix, kind) for kind in kinds}
        self._known = Known(dict(self._names))
        self._links: dict[Node, Link] = {}
        self._owners: list[Link | None] = [None] * BUCKETS
        self._news = asyncio.Event()
        self._refreshing: asyncio.Task[None] | None = None
        self._refresh_now = asyncio.Event()
        self._closed: set[asyncio.Task[None]] = set()
        self.pages_dropped = 0
        """Pages that were not sent to Redis, since the start."""

    async def start(self) -> None:
        """Begin to connect."""
        self._loop = asyncio.get_running_loop()
        self._link(self._address.nodes)
        if self._address.is_cluster:
            self._refreshing = self._loop.create_task(self._refresh(), name="redis cluster")
        else:
            self._owners = [self._links[self._address.nodes[0]]] * BUCKETS

    async def close(self) -> None:
        """Close the connections; reads under way raise TryAgain."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refreshing
        links = list(self._links.values())
        self._links.clear()
        self._owners = [None] * BUCKETS
        await asyncio.gather(*(link.close() for link in links), *self._closed)

    def known_version(self, kind: str, key: bytes) -> int | None:
        """Return the version that was read last, if nothing has been said to change it and Redis was heard lately."""
        version = self._known.version(kind, key)
        if version is None:
            return None
        link = self._owners[bucket_of(key)]
        return version if link is not None and link.is_fresh(self._loop.time()) else None

    async def read(self, kind: str, key: bytes, page: bytes | None = None) -> LiveState:
        """Return a state and a page made from it; one round trip on a connection that others use meanwhile."""
        connection = self._connection(key) or await self._first_connection(key)
        names = self._keys(kind)
        # The state first: a write in between drops the page, but a page is never older than its state.
        commands: list[tuple[bytes, ...]] = [(b"GET", names.state(key))]
        if page is not None:
            commands.append((b"HGET", names.pages(key), page))
        future: asyncio.Future[LiveState] = self._loop.create_future()

        def done(replies: Replies) -> None:
            try:
                state = self._state(kind, key, replies, connection)
            except MarqueeError as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(state)

        connection.call(commands, done)
        timer = self._loop.call_later(self._timeout_s, _time_out, future, self._timeout_s)
        try:
            return await future
        finally:
            timer.cancel()

    def put_page(self, kind: str, key: bytes, version: int, page: bytes, value: bytes, ttl_s: float) -> None:
        """Cache a page if the state still has `version` when it gets there; drop it while Redis is slow or away."""
        connection = self._connection(key)
        if connection is None or connection.unsent_bytes > MAX_UNSENT_BYTES:
            self.pages_dropped += 1
            return
        names = self._keys(kind)
        position = (version >> 1).to_bytes(POSITION_BYTES, "big") if version else b""
        arguments = (position, b"%d" % (version & 1), page, value, b"%d" % max(1, ttl_s * 1000), b"%d" % MAX_PAGES)
        with contextlib.suppress(TryAgain):
            connection.call([(b"EVAL", PUT_PAGE, b"2", names.state(key), names.pages(key), *arguments)], _ignore)
            return
        self.pages_dropped += 1

    def changed(self, kind: str) -> set[bytes] | None:
        """Return the keys that Redis said to have changed since the last call, None if it may have said more."""
        return None if self.problem is not None else self._known.take_changed(kind)

    @property
    def problem(self) -> str | None:
        """Why changes are not followed everywhere, None if they are."""
        for link in set(self._owners):
            if link is None or link.connection is None:
                return (link and link.problem) or self._first_problem() or "the hot store is not connected yet"
        return None

    def _first_problem(self) -> str | None:
        return next((link.problem for link in self._links.values() if link.problem), None)

    def _keys(self, kind: str) -> Keys:
        names = self._names.get(kind)
        if names is None:
            names = self._names[kind] = Keys(self._address.prefix, kind)
        return names

    def _connection(self, key: bytes) -> Connection | None:
        link = self._owners[bucket_of(key)]
        return link.connection if link is not None else None

    async def _first_connection(self, key: bytes) -> Connection:
        """Wait for a connection that is being made; raise TryAgain at once if making it has failed before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                while (connection := self._connection(key)) is None:
                    link = self._owners[bucket_of(key)]
                    if not self._links or (link.problem if link else self._first_problem()):
                        break
                    await self._news.wait()
                else:
                    return connection
        raise TryAgain(self.problem or "the hot store is not connected yet", REFRESH_AFTER_S)

    def _state(self, kind: str, key: bytes, replies: Replies, connection: Connection) -> LiveState:
        """Return what a read found, remembered. Raises what the replies come to if one is an error."""
        if isinstance(replies, MarqueeError):
            raise replies
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                self._refresh_now.set()
                raise reply_error(str(reply), connection.who)
        state = live_state(replies[0], replies[1] if len(replies) > 1 else None)
        if connection is self._connection(key):  # else another server tells of changes by now
            self._known.remember(kind, key, state.version)
        return state

    def _link(self, nodes: Sequence[Node]) -> None:
        """Connect to servers that are not yet."""
        followed = [self._names[kind].state_prefix for kind in self._known.kinds]
        for node in nodes:
            if node not in self._links:
                self._links[node] = Link(
                    node, self._address, followed, on_up=self._up, on_down=self._down, on_changed=self._invalidated
                )

    def _up(self, link: Link, owners: Owners | None) -> None:
        if owners is not None and self._links.get(link.node) is link:
            self._adopt(owners)
        self._tell()

    def _down(self, link: Link) -> None:
        self._known.forget_all()
        self._refresh_now.set()
        self._tell()

    def _invalidated(self, names: list[bytes] | None) -> None:
        if names is None:
            self._known.forget_all()
        else:
            self._known.forget(names)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _adopt(self, owners: Owners) -> None:
        """Connect to the servers that own something, and leave the others."""
        nodes = {node for node in owners if node is not None}
        self._link(sorted(nodes))
        links = [self._links[node] if node is not None else None for node in owners]
        if links != self._owners:
            self._owners = links
            self._known.forget_all()
        for node in set(self._links) - nodes:
            self._closing(self._links.pop(node))

    def _closing(self, link: Link) -> None:
        task = self._loop.create_task(link.close())
        self._closed.add(task)
        task.add_done_callback(self._closed.discard)

    async def _refresh(self) -> None:
        """Ask a cluster who owns what, now and then and whenever something points to a change."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._refresh_now.wait()
            await asyncio.sleep(REFRESH_AFTER_S)
            self._refresh_now.clear()
            connected = [link for link in self._links.values() if link.connection is not None]
            if not connected:
                self._link(self._address.nodes)  # all the servers that were known may have been replaced
                continue
            with contextlib.suppress(TryAgain, TimeoutError):
                async with asyncio.timeout(1.0):
                    self._adopt(await connected[0].owners())
            self._tell()


def _time_out(future: asyncio.Future[Any], timeout_s: float) -> None:
    if not future.done():
        future.set_exception(TryAgain(f"the hot store is slow: no answer within {timeout_s * 1000:.0f} ms", 0.1))


def _ignore(replies: Replies) -> None:
    """Heed no answer."""
