"""The homepage: a fresh page if there is any way to one, else the best that the ladder has. Never an error.

`hit` is the short way: a cached page, held against the version of the member's newest state as far as that is known
without waiting. `serve` is the long way: ask the stores (for the state, and for the page as another process has made
it), compute the page (once for all who wait for it), or fall down the ladder. Both note in the impression log what was
shown; a computed page is shared with other processes once that is written.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from serving.homepage import page_json
from serving.homepage.guarded_threads import unavailable
from serving.homepage.impression_log import ImpressionLog
from serving.homepage.page_cache import CachedPage, PageCache, PageKey, page_name
from serving.homepage.page_counts import PAGE_COUNTS, PageCounts, reason_code
from serving.homepage.page_id import PageIds
from serving.homepage.page_maker import PageMaker
from serving.homepage.request import HomepageRequest
from serving.homepage.single_flight import SingleFlight
from serving.homepage.state_reader import MemberState, StateReader
from serving.pages.ladder import descend, staleness
from serving.pages.page import Page, Step
from streams.errors import MarqueeError, SlowDown, TryAgain
from streams.stores.protocol import POSITION_BYTES

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


class Found(NamedTuple):
    """A fresh page; where from: "hit" from a cache, "miss" if it was computed; what was away meanwhile (it is fresh all
    the same, by the durable store); and when its state began to be read (monotonic)."""

    entry: CachedPage
    cache: str
    away: str | None
    read_at_s: float


class HomepageService:
    """Serves homepages of one process. All public methods belong to its event loop."""

    def __init__(
        self,
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
        self._states = states
        self._maker = maker
        self._models = maker.models
        self._cache = cache
        self._impressions = impressions
        self._stale_max_ms = int(stale_max_s * 1000)
        self._deadline_s = deadline_s
        self._counts = counts
        self._clock_ms = clock_ms
        self._flights: SingleFlight[PageKey, Found] = SingleFlight(MAX_FLIGHTS)
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
            version = self._states.known_version(request.member_key)
        except Exception:  # noqa: BLE001 - `serve` finds out what is wrong and what to do about it
            return None
        wanted = self._models.versions.get(request.model)
        if version is None or staleness(entry, now_ms, version, wanted) is not None:
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
            entry, step, cache = self._last_resort(request), "popular", "bypass"
            degraded = unavailable("homepage", error)
        if entry.lacking is not None:
            degraded = f"{entry.lacking}; {degraded}" if degraded else entry.lacking
        self._count(step, cache, degraded, time.perf_counter() - started_s)
        return self._answer(entry, step, cache, degraded, shown)

    def warm(self) -> None:
        """Take in new titles and models before the next page does. Any thread's."""
        self._maker.warm()

    async def close(self) -> None:
        """Finish the pages being computed, within a second, and let go of threads."""
        await self._flights.close(CLOSE_TIMEOUT_S)
        self._builder.shutdown(wait=False, cancel_futures=True)

    def share(self, entries: Sequence[CachedPage]) -> None:
        """Let other processes have fresh pages whose first showing is written. Those that were replaced since are
        passed over, and those of members without a state: a store that has lost one knows no better."""
        now_ms = self._clock_ms()
        for entry in entries:
            if entry.version and entry.origin_page_id and self._cache.get(entry.key) is entry:
                kept_until_ms = max(entry.expires_at_ms, entry.computed_at_ms + self._stale_max_ms)
                if kept_until_ms > now_ms:
                    self._states.put_page(entry, self._maker.shared(entry), (kept_until_ms - now_ms) / 1000)

    async def _choose(self, request: HomepageRequest) -> tuple[CachedPage, Step, str, str | None]:
        """Return the page to serve, its step, the cache outcome, and what was away."""
        try:
            async with asyncio.timeout(self._deadline_s):
                found = await self._find(request)
        except TimeoutError:
            failure = f"deadline: no page within {self._deadline_s * 1000:.0f} ms"
        except SlowDown as error:
            failure = f"load: {error}"
        except MarqueeError as error:
            failure = str(error)
        else:
            return found.entry, "fresh", found.cache, found.away
        return await self._descend(request, self._cache.get(request.key), failure)

    async def _find(self, request: HomepageRequest) -> Found:
        """Return a page that is fresh as of now or later: a search that others started may have read an earlier state.

        Raises TryAgain if the state that can be read by now is an earlier one.
        """
        asked_at_s, version = time.monotonic(), self._known_version(request)
        found = await self._flights.run(request.key, lambda: self._make(request))
        if not self._is_of_now(found, request, version, asked_at_s):
            found = await self._flights.run(request.key, lambda: self._make(request))
        if found.entry.version < (version or 0):
            raise TryAgain("stores behind: the state that can be read is older than the one that was there just now")
        return found

    def _is_of_now(self, found: Found, request: HomepageRequest, version: int | None, asked_at_s: float) -> bool:
        """Return whether a page is of the state at the time of asking, or later. version: of that state, if known."""
        if version is not None:
            return found.entry.version >= version
        if found.read_at_s >= asked_at_s or found.away is not None:
            return True
        return self._known_version(request) == found.entry.version

    def _known_version(self, request: HomepageRequest) -> int | None:
        try:
            return self._states.known_version(request.member_key)
        except Exception:  # noqa: BLE001 - whatever ails the store, the page is found another way
            return None

    async def _make(self, request: HomepageRequest) -> Found:
        """Ask for the member's state; return the cached or the shared page if it is fresh, else build and cache one."""
        read_at_s = time.monotonic()
        look = await self._states.look(request.member_key, page_name(request.key))
        if look.away is None and look.version:
            member = MemberState(look.value, look.version, None)
        else:
            cached = self._cache.get(request.key)
            cheaper = cached is not None and (look.away is not None or not cached.version)
            version = await self._durable_version(request) if cheaper else None
            if cached is not None and cheaper and self._take_if_fresh(request, cached, version):
                return Found(cached, "hit", look.away, read_at_s)
            member = await self._states.read_durable(request.member_key, look.away)
        if member.value is None and member.version:  # forgotten: nothing made from the state is kept, for no step
            self._cache.discard_older(request.key.member_id, member.version)
        cached = self._newest(request, look.page, member.version)
        if cached is not None and self._take_if_fresh(request, cached, member.version):
            return Found(cached, "hit", member.away, read_at_s)
        if cached is not None and member.version < cached.version:
            raise TryAgain("stores behind: the state that can be read is older than the cached page")
        seed, end_s = self._rng.getrandbits(63), read_at_s + self._deadline_s
        loop = asyncio.get_running_loop()
        entry = await loop.run_in_executor(self._builder, self._build, request, member, seed, end_s)
        self._cache.put(entry, self._clock_ms())
        return Found(entry, "miss", member.away, read_at_s)

    async def _durable_version(self, request: HomepageRequest) -> int | None:
        try:
            return await self._states.durable_version(request.member_key)
        except TryAgain:
            return None

    def _take_if_fresh(self, request: HomepageRequest, cached: CachedPage, version: int | None) -> bool:
        """Return whether a cached page is fresh for a state's version that was just read; note that it was."""
        now_ms = self._clock_ms()
        if staleness(cached, now_ms, version, self._maker.model_version(request)) is not None:
            return False
        cached.verified_at_ms = now_ms
        return True

    def _newest(self, request: HomepageRequest, shared: bytes | None, version: int) -> CachedPage | None:
        """Return the page in the cache, taken in from the shared one if that is newer; None if it is too old even for
        the ladder."""
        cached, now_ms = self._cache.get(request.key), self._clock_ms()
        if shared is not None and (
            cached is None or staleness(cached, now_ms, version, self._maker.model_version(request)) is not None
        ):
            theirs = self._maker.from_shared(request, shared)
            if (
                theirs is not None
                and theirs.version <= version
                and (cached is None or cached.computed_at_ms < theirs.computed_at_ms)
            ):
                self._cache.put(theirs, now_ms)
                cached = self._cache.get(request.key)
        old = cached is None or now_ms - cached.computed_at_ms > self._stale_max_ms
        return None if old else cached

    def _build(self, request: HomepageRequest, member: MemberState, seed: int, end_s: float) -> CachedPage:
        """Build a page, in the builder's thread, unless it has waited for its turn until after `end_s`."""
        if time.monotonic() > end_s:
            raise SlowDown("too many pages are waiting to be computed")
        try:
            return self._maker.fresh(request, member, self._clock_ms(), seed)
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
                return self._maker.stored(request, page), "precomputed", "bypass", decision.degraded
        entry = self._maker.popular(request, now_ms, self._rng.getrandbits(63))
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

    def _last_resort(self, request: HomepageRequest) -> CachedPage:
        now_ms = self._clock_ms()
        try:
            return self._maker.popular(request, now_ms, self._rng.getrandbits(63))
        except Exception:  # noqa: BLE001 - logged already, as what made the page fall so far
            return self._maker.empty(request, now_ms)

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
