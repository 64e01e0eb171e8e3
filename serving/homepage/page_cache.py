"""The page cache: computed pages as ready bytes, bounded in entries and bytes, each for a TTL with jitter.

A page past its TTL stays, for the ladder's `stale` step, until it is too old for that too or room is needed.
Whether a page is fresh is not decided here but in `serving.pages.ladder`.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import NamedTuple

from serving.homepage import page_json
from serving.homepage.treatment import NO_TREATMENT, Treatment
from serving.pages.page import Page
from serving.titles import TitleSnapshot

ENTRY_OVERHEAD_BYTES = 1_500
"""What an entry takes beside its body: key, objects and dictionary slots, as measured on CPython 3.11."""

MAX_SWEPT = 8
"""How many old entries one insertion removes: more than it adds, so the cache cannot fill with the dead."""

DEFAULT_MAX_BYTES = 512 << 20
"""A quarter of what a small serving machine has; 20,000 pages of 25 kB."""


class PageKey(NamedTuple):
    """What a page depends on, beside states and model. variants: the treatment's key, `experiment=variant`s first."""

    member_id: str
    country: str
    device: str
    variants: str = ""


def page_name(key: PageKey) -> bytes:
    """Return what a page is called among the shared pages of its member."""
    return "\x1f".join(key[1:]).encode()


class Origin(NamedTuple):
    """What the impression of a page's first serving needs, beside what the entry keeps. state, snapshot: what it was
    computed from; page_version: of the parameters and code that did, "" where that was elsewhere; changes: in what the
    parameters differed from the defaults."""

    page: Page
    state: bytes | None
    snapshot: TitleSnapshot | None
    page_version: str
    changes: str = ""


class CachedPage:
    """A page, ready to be served.

    middle, tail: the JSON answer in pieces (see `page_json`), between which go the values that differ from
    answer to answer. version: of the member's state as read (a tombstone's too). partition: of its impressions.
    seed: what it was computed with. origin: until it is first served; origin_page_id: of that first serving.
    repeat: what the impressions of later servings have in common. verified_at_ms: when the durable store was last asked
    about a member without events. lacking: why another model made the page than the treatment names, None if it did.
    exposed_until_ms: until when nobody need be told again that the member met the treatment's variants.
    """

    __slots__ = (
        "computed_at_ms",
        "expires_at_ms",
        "exposed_until_ms",
        "feature_position",
        "feature_time_ms",
        "key",
        "lacking",
        "member_key",
        "middle",
        "model_version",
        "origin",
        "origin_page_id",
        "partition",
        "repeat",
        "seed",
        "size",
        "tail",
        "treatment",
        "verified_at_ms",
        "version",
    )

    def __init__(
        self,
        key: PageKey,
        tail: bytes,
        *,
        computed_at_ms: int,
        feature_position: int,
        feature_time_ms: int,
        model_version: str | None,
        version: int,
        partition: int,
        seed: int,
        origin: Origin | None = None,
        origin_page_id: str | None = None,
        treatment: Treatment = NO_TREATMENT,
        lacking: str | None = None,
    ) -> None:
        """One of origin and origin_page_id is given: the latter of a page that another process has shown."""
        self.key = key
        self.member_key = key.member_id.encode()
        self.origin = origin
        self.origin_page_id = origin_page_id
        self.repeat: bytes | None = None
        self.middle = page_json.middle(feature_position)
        self.tail = tail
        self.size = len(tail) + ENTRY_OVERHEAD_BYTES
        self.version = version
        self.partition = partition
        self.seed = seed
        self.computed_at_ms = computed_at_ms
        self.expires_at_ms = computed_at_ms
        self.verified_at_ms = computed_at_ms
        self.feature_position = feature_position
        self.feature_time_ms = feature_time_ms
        self.model_version = model_version
        self.treatment = treatment
        self.lacking = lacking
        self.exposed_until_ms = 0

    @classmethod
    def computed(
        cls,
        key: PageKey,
        origin: Origin,
        *,
        rows: bytes,
        version: int,
        partition: int,
        seed: int,
        treatment: Treatment = NO_TREATMENT,
        lacking: str | None = None,
    ) -> CachedPage:
        """Return a page that was computed here. rows: `page_json.rows_json` of it."""
        page = origin.page
        return cls(
            key,
            page_json.tail(page, key.member_id, rows),
            computed_at_ms=page.computed_at_ms,
            feature_position=page.feature_position,
            feature_time_ms=page.feature_time_ms,
            model_version=page.model_version,
            version=version,
            partition=partition,
            seed=seed,
            origin=origin,
            treatment=treatment,
            lacking=lacking,
        )


def ttl_ms(key: PageKey, base_s: float, jitter: float) -> int:
    """Return a key's TTL: `base_s` less up to `jitter` of it, the same for a key each time.

    Pages that were computed together (after a restart, say) so do not all end together.
    """
    fraction = zlib.crc32("\x1f".join(key).encode()) / 0xFFFFFFFF
    return int(base_s * 1000 * (1 - jitter * fraction))


class PageCache:
    """Pages by key, the least recently used of them dropped when there are too many or they take too much room.

    One event loop's; not thread-safe. Every operation costs the same however full the cache is.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: int,
        ttl_s: float,
        ttl_jitter: float,
        stale_max_s: float,
    ) -> None:
        self._entries: OrderedDict[PageKey, CachedPage] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._ttl_jitter = ttl_jitter
        self._stale_max_ms = int(stale_max_s * 1000)
        self.bytes = 0
        self.evicted = 0
        self.get = self._entries.get
        self.touch = self._entries.move_to_end

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: CachedPage, now_ms: int) -> None:
        """Keep a page for its TTL from when it was computed; a page larger than the whole cache is not kept.

        A page of an earlier state does not replace one of a later state.
        """
        known = self._entries.get(entry.key)
        if known is not None and known.version > entry.version and known.model_version == entry.model_version:
            return
        ttl_s = entry.treatment.ttl_s or self._ttl_s
        entry.expires_at_ms = entry.computed_at_ms + ttl_ms(entry.key, ttl_s, self._ttl_jitter)
        self._remove(entry.key)
        if entry.size > self._max_bytes:
            return
        self._entries[entry.key] = entry
        self.bytes += entry.size
        self._sweep(now_ms)

    def discard_older(self, member_id: str, version: int) -> int:
        """Remove the pages made from a member's states below `version`; return how many there were.

        Looks at all entries, which takes a millisecond or two: for rare use."""
        keys = [key for key, entry in self._entries.items() if key[0] == member_id and entry.version < version]
        for key in keys:
            self._remove(key)
        return len(keys)

    def expire_all(self) -> None:
        """Let no page be fresh any more; all stay for the ladder. Looks at all entries."""
        for entry in self._entries.values():
            entry.expires_at_ms = 0

    def _remove(self, key: PageKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size

    def _sweep(self, now_ms: int) -> None:
        """Make room, least recently used first; and drop a few of the oldest if even the ladder has no use for them."""
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            self._drop_oldest()
        for _ in range(MAX_SWEPT):
            oldest = next(iter(self._entries.values()), None)
            if oldest is None or now_ms - oldest.computed_at_ms <= self._stale_max_ms:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, entry = self._entries.popitem(last=False)
        self.bytes -= entry.size
        self.evicted += 1
