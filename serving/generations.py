"""Following the generation of states that serves: a rebuild changes over to a new one while pages are served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from serving.homepage.page_cache import PageCache
from serving.titles import TitleBoard
from streams.errors import MarqueeError
from streams.stores.generations import Names, ServingGenerations
from streams.stores.live_reads import LiveReads, LiveState

LOOK_S: Final = 1.0
"""How often the record is looked at; a former generation is kept for longer than this after a change over."""

logger = logging.getLogger(__name__)


class GenerationalReads:
    """LiveReads of the generation that serves. open_reads: returns reads that follow changes of the kinds named."""

    def __init__(self, kinds: Sequence[str], open_reads: Callable[[Sequence[str]], LiveReads], names: Names) -> None:
        self._kinds = kinds
        self._open_reads = open_reads
        self._names = names
        self._of = dict(names.of)
        self._reads = open_reads(kinds)

    @property
    def problem(self) -> str | None:
        """Why changes are not followed at the moment, None if they are."""
        return self._reads.problem

    async def start(self) -> None:
        """Begin to follow changes."""
        if self._of != self._names.of:
            self._take_up()
        await self._reads.start()

    async def close(self) -> None:
        """Let go of connections."""
        await self._reads.close()

    async def change_over(self) -> None:
        """Read what the names say by now; reads of the former generation end."""
        former = self._reads
        self._take_up()
        await self._reads.start()
        await former.close()

    def known_version(self, kind: str, key: bytes) -> int | None:
        """See LiveReads."""
        return self._reads.known_version(self._of.get(kind, kind), key)

    async def read(self, kind: str, key: bytes, page: bytes | None = None) -> LiveState:
        """See LiveReads."""
        return await self._reads.read(self._of.get(kind, kind), key, page)

    def put_page(self, kind: str, key: bytes, version: int, page: bytes, value: bytes, ttl_s: float) -> None:
        """See LiveReads."""
        self._reads.put_page(self._of.get(kind, kind), key, version, page, value, ttl_s)

    def changed(self, kind: str) -> set[bytes] | None:
        """See LiveReads."""
        return self._reads.changed(self._of.get(kind, kind))

    def _take_up(self) -> None:
        self._of = dict(self._names.of)
        self._reads = self._open_reads([self._of.get(kind, kind) for kind in self._kinds])


def look(generations: ServingGenerations) -> bool:
    """Look at the record; return whether another generation serves. One that cannot be read is looked at again."""
    try:
        changed = generations.refresh()
    except MarqueeError as error:
        logger.debug("the record of generations cannot be read: %s", error)
        return False
    if generations.problem:
        logger.warning(generations.problem)
    return changed


async def follow_generations(
    generations: ServingGenerations, live: GenerationalReads, titles: TitleBoard, cache: PageCache
) -> None:
    """Take up each new generation within about LOOK_S, until cancelled. Cached pages are computed anew."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            if await asyncio.to_thread(look, generations):
                await live.change_over()
                titles.start_over()
                cache.expire_all()
                await asyncio.sleep(LOOK_S)
                cache.expire_all()  # pages that were being computed meanwhile
                logger.info("another generation of states serves")
        except Exception:  # the task must outlive any surprise, or no later generation would ever be taken up
            logger.exception("a generation could not be taken up")
