"""The homepage: a fresh page if there is any way to one, else the best that the ladder has. Never an error.

`hit` is the short way: a cached page, held against the version of the member's newest state. `serve` is the long way:
compute the page (once for all who wait for it), or fall down the ladder. Both note in the impression log what was
shown.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from serving.homepage import page_json
from serving.homepage.impression_log import ImpressionLog
from serving.homepage.page_cache import CachedPage, PageCache, PageKey
from serving.homepage.page_counts import PAGE_COUNTS, PageCounts, reason_code
from serving.homepage.page_id import PageIds
from serving.homepage.page_maker import PageMaker
from serving.homepage.request import HomepageRequest
from serving.homepage.single_flight import SingleFlight
from serving.homepage.state_reader import MemberState, StateReader, unavailable
from serving.pages.ladder import descend, staleness
from serving.pages.page import Page, Step
from streams.errors import MarqueeError, SlowDown, TryAgain
from streams.features.member import MEMBER
from streams.stores.protocol import POSITION_BYTES, StateStore

logger = logging.getLogger(__name__)


MAX_FLIGHTS: Final = 256
"""Pages being computed at once; at a millisecond or two each, the last would miss the deadline anyhow."""

BUILD_THREADS: Final = 1
"""Building takes a millisecond or two of CPU. On the event loop it would triple the latency of cache hits while misses
come one after another; more threads than one only fight over the interpreter (both measured)."""

UNKNOWN_MS: Final = 1_000
"""How long it is believed that a member has no events: a hot store that knows nothing of them may have lost its states,
and the durable store know better."""

PRECOMPUTED: Final = "precomputed"
CLOSE_TIMEOUT_S: Final = 1.0
LOG_INTERVAL_S: Final = 1.0

_page_decoder = msgspec.json.Decoder(Page)


def wall_clock_ms() -> int:
    """Return the Unix time in ms."""
    return time.time_ns() // 1_000_000


class Computed(NamedTuple):
    """A computed page, and what was away meanwhile (it is fresh all the same, from the durable store)."""

    entry: CachedPage
    away: str | None


class HomepageService:
    """Serves homepages of one process. All public methods belong to its event loop."""

    def __init__(
        self,
        hot: StateStore,
        states: StateReader,
        maker: PageMaker,
        cache: PageCache,
        impressions: ImpressionLog,
        *,
        stale_max_s: float,
        deadline_s: float,
        counts: PageCounts = PAGE_COUNTS,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._hot = hot
        self._states = states
        self._maker = maker
        self._cache = cache
        self._impressions = impressions
        self._stale_max_ms = int(stale_max_s * 1000)
        self._deadline_s = deadline_s
        self._counts = counts
        self._clock_ms = clock_ms
        self._flights: SingleFlight[PageKey, Computed] = SingleFlight(MAX_FLIGHTS)
        self._builder = ThreadPoolExecutor(BUILD_THREADS, thread_name_prefix="page-builder")
        self._page_ids = PageIds()
        self._log_again_at_s = 0.0
        self._rng = random.Random()  # noqa: S311 - seeds of exploration, kept in impressions; not a secret

    def hit(self, request: HomepageRequest, now_ms: int) -> bytes | None:
        """Return the answer from the cache if the page there is fresh, else None: then `serve` is to be asked."""
        entry = self._cache.get(request.key)
        if entry is None:
            return None
        try:
            version = self._hot.versions(MEMBER.name, request.member_keys)[0]
        except Exception:  # noqa: BLE001 - `serve` finds out what is wrong and what to do about it
            return None
        if staleness(entry, now_ms, version, self._maker.model_version) is not None:
            return None
        if not version and now_ms - entry.verified_at_ms >= UNKNOWN_MS:
            return None
        self._cache.touch(request.key)
        self._counts.fresh_hits += 1
        page_id = self._note(entry, now_ms, "fresh", None)
        return b"".join(
            (
                page_json.HEAD,
                page_id,
                page_json.FRESH_HIT,
                page_json.age(now_ms, entry.computed_at_ms),
                entry.middle,
                page_json.age(now_ms, entry.feature_time_ms),
                entry.tail,
            )
        )

    async def serve(self, request: HomepageRequest, *, shown: bool = True) -> bytes:
        """Return the answer, by the best step of the ladder that can be had. shown: False if nobody sees it (HEAD)."""
        started_s = time.perf_counter()
        try:
            entry, step, cache, degraded = await self._choose(request)
        except Exception as error:  # noqa: BLE001 - no request may fail because of what the ladder did not foresee
            self._log_rarely("a homepage fell to the last step")
            entry, step, cache = self._last_resort(request.key), "popular", "bypass"
            degraded = unavailable("homepage", error)
        self._count(step, cache, degraded, time.perf_counter() - started_s)
        return self._answer(entry, step, cache, degraded, shown)

    def warm(self) -> None:
        """Take in new titles and models before the next page does. Any thread's."""
        self._maker.warm()

    async def close(self) -> None:
        """Finish the pages being computed, within a second, and let go of threads."""
        await self._flights.close(CLOSE_TIMEOUT_S)
        self._builder.shutdown(wait=False, cancel_futures=True)
        self._states.close()

    async def _choose(self, request: HomepageRequest) -> tuple[CachedPage, Step, str, str | None]:
        """Return the page to serve, its step, the cache outcome, and what was away."""
        cached = self._cache.get(request.key)
        version, away = self._version(request)
        if cached is not None:
            if away is not None or version == cached.version == 0:  # a member whom the hot store does not know
                version = await self._durable_version(request)
            now_ms = self._clock_ms()
            if staleness(cached, now_ms, version, self._maker.model_version) is None:
                cached.verified_at_ms = now_ms
                return cached, "fresh", "hit", away
        try:
            async with asyncio.timeout(self._deadline_s):
                computed = await self._compute(request, version or 0)
        except TimeoutError:
            failure = f"deadline: no page within {self._deadline_s * 1000:.0f} ms"
        except SlowDown as error:
            failure = f"load: {error}"
        except MarqueeError as error:
            failure = str(error)
        else:
            return computed.entry, "fresh", "miss", computed.away
        return await self._descend(request, self._cache.get(request.key), failure)

    def _version(self, request: HomepageRequest) -> tuple[int | None, str | None]:
        """Return the version of the member's state in the hot store, or None and why it cannot be read."""
        try:
            return self._hot.versions(MEMBER.name, request.member_keys)[0], None
        except Exception as error:  # noqa: BLE001 - whatever ails the store, the page is found another way
            return None, unavailable("hot store", error)

    async def _durable_version(self, request: HomepageRequest) -> int | None:
        try:
            return await self._states.durable_version(request.member_key)
        except TryAgain:
            return None

    async def _compute(self, request: HomepageRequest, version: int) -> Computed:
        """Return a page of the state's `version` or later: a computation that others started may have read an earlier.

        Raises TryAgain if the state that can be read by now is an earlier one.
        """
        computed = await self._flights.run(request.key, lambda: self._make(request))
        if computed.entry.version < version:
            computed = await self._flights.run(request.key, lambda: self._make(request))
        if computed.entry.version < version:
            raise TryAgain("stores behind: the state that can be read is older than the one that was there just now")
        return computed

    async def _make(self, request: HomepageRequest) -> Computed:
        """Read the member's state, build the page, cache it."""
        started_s = time.monotonic()
        member = await self._states.read(request.member_key)
        if member.value is None and member.version:  # forgotten: nothing made from the state is kept, for no step
            self._cache.discard_older(request.key.member_id, member.version)
        cached = self._usable(self._cache.get(request.key))
        if cached is not None and member.version < cached.version:
            raise TryAgain("stores behind: the state that can be read is older than the cached page")
        seed, end_s = self._rng.getrandbits(63), started_s + self._deadline_s
        loop = asyncio.get_running_loop()
        entry = await loop.run_in_executor(self._builder, self._build, request.key, member, seed, end_s)
        self._cache.put(entry, self._clock_ms())
        return Computed(entry, member.away)

    def _usable(self, cached: CachedPage | None) -> CachedPage | None:
        """Return a cached page unless it is too old even for the ladder."""
        old = cached is None or self._clock_ms() - cached.computed_at_ms > self._stale_max_ms
        return None if old else cached

    def _build(self, key: PageKey, member: MemberState, seed: int, end_s: float) -> CachedPage:
        """Build a page, in the builder's thread, unless it has waited for its turn until after `end_s`."""
        if time.monotonic() > end_s:
            raise SlowDown("too many pages are waiting to be computed")
        try:
            return self._maker.fresh(key, member, self._clock_ms(), seed)
        except MarqueeError:
            raise
        except Exception as error:  # a page that cannot be built is served from a lower step
            self._log_rarely("a page cannot be built")
            raise TryAgain(unavailable("page", error)) from error

    async def _descend(
        self, request: HomepageRequest, cached: CachedPage | None, failure: str
    ) -> tuple[CachedPage, Step, str, str | None]:
        """Return the best page below `fresh`."""
        now_ms = self._clock_ms()
        cached_age_ms = now_ms - cached.computed_at_ms if cached is not None else None
        titles = self._maker.title_count
        decision = descend(failure, cached_age_ms, None, self._stale_max_ms, titles)
        if decision.step == "stale" and cached is not None:
            return cached, "stale", "hit", decision.degraded
        page = await self._precomputed(request)
        if page is not None:
            decision = descend(failure, cached_age_ms, now_ms - page.computed_at_ms, self._stale_max_ms, titles)
            if decision.step == "precomputed":
                return self._maker.stored(request.key, page), "precomputed", "bypass", decision.degraded
        entry = self._maker.popular(request.key, now_ms, self._rng.getrandbits(63))
        return entry, "popular", "bypass", decision.degraded

    async def _precomputed(self, request: HomepageRequest) -> Page | None:
        """Return the member's page from the last batch run, None if there is none that can be read."""
        value = await self._states.read_other(PRECOMPUTED, request.member_key)
        if value is None:
            return None
        try:
            page = _page_decoder.decode(value[POSITION_BYTES:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return page if page.member_id == request.key.member_id else None

    def _last_resort(self, key: PageKey) -> CachedPage:
        now_ms = self._clock_ms()
        try:
            return self._maker.popular(key, now_ms, self._rng.getrandbits(63))
        except Exception:  # noqa: BLE001 - logged already, as what made the page fall so far
            return self._maker.empty(key, now_ms)

    def _log_rarely(self, message: str) -> None:
        """Log the current exception, unless one was a moment ago: a fault may be every request's."""
        if time.monotonic() >= self._log_again_at_s:
            self._log_again_at_s = time.monotonic() + LOG_INTERVAL_S
            logger.exception(message)

    def _answer(self, entry: CachedPage, step: Step, cache: str, degraded: str | None, shown: bool) -> bytes:
        now_ms = self._clock_ms()
        page_id = self._note(entry, now_ms, step, degraded, shown=shown)
        return b"".join(
            (
                page_json.HEAD,
                page_id,
                page_json.how_served(step, cache, degraded),
                page_json.age(now_ms, entry.computed_at_ms),
                entry.middle,
                page_json.age(now_ms, entry.feature_time_ms),
                entry.tail,
            )
        )

    def _note(self, entry: CachedPage, now_ms: int, step: Step, degraded: str | None, *, shown: bool = True) -> bytes:
        """Return a new page id, having noted the showing. The first showing of an entry carries the whole page."""
        page_id = self._page_ids.next(now_ms, entry.partition)
        if not shown:
            return page_id
        origin = entry.origin
        if self._impressions.put((page_id, now_ms, step, degraded, entry, origin)) and origin is not None:
            entry.origin = None
            entry.origin_page_id = page_id.decode()
        return page_id

    def _count(self, step: Step, cache: str, degraded: str | None, seconds: float) -> None:
        self._counts.served[step, cache] += 1
        self._counts.observe(cache, seconds)
        if degraded is not None:
            self._counts.degraded[reason_code(degraded)] += 1
