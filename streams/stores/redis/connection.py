"""A connection for one event loop (RESP3): many calls under way at once, answered in order, with pushes in between.

Invalidations come on the connection that reads: one for a write that a read did not see yet always follows that read's
answer. What `done` is called with is therefore in the order in which it happened, and nothing else is needed against
races.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

from streams.errors import MarqueeError, TryAgain

MAX_CALLS: Final = 2_000
"""Calls under way on a connection; with so many, one more would wait for longer than a page may."""

_MORE: Final = object()
_pack: Final[Any] = hiredis.pack_command  # its types allow of one argument only

Replies = list[Any] | MarqueeError
"""The replies to a call, of which any may be a hiredis.ReplyError, or why there are none."""


class _Call:
    __slots__ = ("done", "left", "replies", "sent_s")

    def __init__(self, replies: int, done: Callable[[Replies], None], sent_s: float) -> None:
        self.left = replies
        self.replies: list[Any] = []
        self.done = done
        self.sent_s = sent_s


class Connection(asyncio.Protocol):
    """A connection to one server, once asyncio has made it. `on_push` is given each push as it came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, who: object, on_push: Callable[[list[Any]], None]) -> None:
        self._loop = loop
        self.who = who
        self._on_push = on_push
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._calls: deque[_Call] = deque()
        self._transport: asyncio.Transport | None = None
        self._reason = "it closed the connection"
        self.heard_s = float("-inf")
        """When the newest call was sent that has been answered (loop time): whatever the server pushed before it got
        that call has been received."""
        self.lost = asyncio.Event()

    @property
    def reason(self) -> str:
        """Why it was lost."""
        return f"the hot store {self.who} is away: {self._reason}"

    def call(self, commands: Sequence[Sequence[bytes]], done: Callable[[Replies], None]) -> None:
        """Send commands in one write; `done` is called with their replies, at once when they arrive or cannot any more.

        Raises TryAgain if the connection is lost or MAX_CALLS are under way.
        """
        if self._transport is None:
            raise TryAgain(self.reason)
        if len(self._calls) >= MAX_CALLS:
            raise TryAgain(f"the hot store {self.who} is busy: {MAX_CALLS} calls wait for it", 0.1)
        self._calls.append(_Call(len(commands), done, self._loop.time()))
        self._transport.write(b"".join([_pack(tuple(command)) for command in commands]))

    async def ask(self, *commands: Sequence[bytes]) -> list[Any]:
        """Return the replies to commands. Raises TryAgain if there are none, or one is an error."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()

        def done(replies: Replies) -> None:
            if future.done():
                return
            if isinstance(replies, MarqueeError):
                future.set_exception(replies)
            else:
                future.set_result(replies)

        self.call(commands, done)
        replies = await future
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise TryAgain(f"the hot store {self.who} is away: {reply}")
        return replies

    @property
    def unsent_bytes(self) -> int:
        """How much waits to be sent."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def is_overdue(self, after_s: float) -> bool:
        """Return whether an answer has been awaited for longer than `after_s`."""
        return bool(self._calls) and self._loop.time() - self._calls[0].sent_s > after_s

    def drop(self, reason: str) -> None:
        """Give the connection up: nothing that arrives from now on is heeded."""
        self._lose(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand on every whole reply and push."""
        try:
            self._reader.feed(data)
            while self._transport is not None and (reply := self._reader.gets()) is not _MORE:
                if isinstance(reply, hiredis.PushNotification):
                    self._on_push(reply)
                else:
                    self._answer(reply)
        except (hiredis.HiredisError, IndexError) as error:
            self._lose(f"it does not speak RESP3 ({error})")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every caller."""
        self._lose(str(exc) if exc else self._reason)

    def _answer(self, reply: Any) -> None:
        call = self._calls[0]
        call.replies.append(reply)
        call.left -= 1
        if not call.left:
            self._calls.popleft()
            if not isinstance(reply, hiredis.ReplyError):
                self.heard_s = call.sent_s
            call.done(call.replies)

    def _lose(self, reason: str) -> None:
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = None
        self._reason = reason
        self.heard_s = float("-inf")
        self.lost.set()
        while self._calls:
            self._calls.popleft().done(TryAgain(self.reason, 0.1))
