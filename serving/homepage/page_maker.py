"""Makes pages from what serving holds now: catalogue, title snapshot and champion are each taken once per page."""

from __future__ import annotations

from collections.abc import Callable

from serving import metrics
from serving.catalogue_holder import CatalogueHolder
from serving.homepage.page_cache import CachedPage, Origin, PageKey
from serving.homepage.page_json import rows_json
from serving.homepage.shared_page import decode_shared, encode_shared
from serving.homepage.state_reader import MemberState
from serving.models.holder import ModelHolder
from serving.pages.builder import PageInputs, build_page
from serving.pages.page import Page, PageContext
from serving.pages.params import PageParams
from serving.pages.popular import popular_page
from serving.pages.shelves import shelves_of
from serving.titles import TitleBoard
from streams.errors import Corrupt, TryAgain
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER
from streams.positions import NOTHING

POPULAR_KEPT_MS = 1_000
"""What an overloaded process serves: made once a second for each kind of asker, not for each request."""

MAX_POPULAR_KEPT = 64
"""Kinds of asker (country and device) that a popular page is kept for."""


class PageMaker:
    """Builds pages as cache entries. `fresh` may run in another thread; the rest belongs to one event loop."""

    def __init__(
        self,
        catalogue: CatalogueHolder,
        titles: TitleBoard,
        models: ModelHolder,
        params: PageParams,
        partition_of: Callable[[bytes], int],
    ) -> None:
        """partition_of: the partition that a member's impressions go to, by the member's key."""
        self._catalogue = catalogue
        self._titles = titles
        self._models = models
        self._params = params
        self._version = params.version
        self._partition_of = partition_of
        self._popular: dict[tuple[str, str], tuple[Origin, bytes, int]] = {}
        """By country and device: the origin, the rows in JSON, and the seed."""

    @property
    def model_version(self) -> str | None:
        """The champion's version, None while there is none."""
        model = self._models.current
        return model.version if model is not None else None

    @property
    def title_count(self) -> int:
        """How many titles the catalogue has."""
        return len(self._catalogue.current)

    def warm(self) -> None:
        """Prepare the newest snapshot for pages, so that none of them has to. Blocks for milliseconds: any thread's."""
        snapshot, model = self._titles.current, self._models.current
        shelves_of(self._catalogue.current, snapshot, self._params)
        if model is not None:
            model.bind(snapshot)

    def fresh(self, key: PageKey, member: MemberState, now_ms: int, seed: int) -> CachedPage:
        """Return a member's page. Raises TryAgain without a model, and if the state cannot be unpacked."""
        model = self._models.current
        if model is None:
            raise TryAgain(f"model unavailable ({self._models.refusal or 'none is registered'})")
        state = _unpacked(member.value) if member.value is not None else None
        snapshot = self._titles.current  # before the catalogue, which then has all of its titles
        context = PageContext(key.member_id, now_ms, seed, key.country, key.device)
        with metrics.PAGE_BUILD_SECONDS.time():
            page = build_page(PageInputs(state, self._catalogue.current, snapshot, model, context, self._params))
        return self._entry(
            key, Origin(page, member.value, snapshot, self._version), rows_json(page), member.version, seed
        )

    def popular(self, key: PageKey, now_ms: int, seed: int) -> CachedPage:
        """Return a page of what most members watch; it needs no store and no model, and may have no rows."""
        kept = self._popular.get((key.country, key.device))
        if kept is None or not 0 <= now_ms - kept[0].page.computed_at_ms < POPULAR_KEPT_MS:
            kept = self._make_popular(key, now_ms, seed)
        origin, rows, seed = kept
        return self._entry(key, origin, rows, 0, seed)

    def empty(self, key: PageKey, now_ms: int) -> CachedPage:
        """Return a page without rows, which nothing can keep from being made."""
        page = Page(key.member_id, [], now_ms, None, NOTHING, 0, None)
        return self._entry(key, Origin(page, None, None, ""), b"[]", 0, 0)

    def stored(self, key: PageKey, page: Page) -> CachedPage:
        """Return a page that was computed earlier, elsewhere."""
        return self._entry(key, Origin(page, None, None, ""), rows_json(page), 0, 0)

    def shared(self, entry: CachedPage) -> bytes:
        """Return a fresh page that has been shown, for other processes."""
        return encode_shared(entry, self._version)

    def from_shared(self, key: PageKey, value: bytes) -> CachedPage | None:
        """Return a page that another process has made and shown, None if it is of no use here."""
        return decode_shared(value, key, self._partition_of(key.member_id.encode()), self._version)

    def _make_popular(self, key: PageKey, now_ms: int, seed: int) -> tuple[Origin, bytes, int]:
        snapshot = self._titles.current  # before the catalogue, which then has all of its titles
        context = PageContext(key.member_id, now_ms, seed, key.country, key.device)
        page = popular_page(self._catalogue.current, snapshot, context, self._params)
        if len(self._popular) >= MAX_POPULAR_KEPT:
            self._popular.clear()
        made = (Origin(page, None, snapshot, self._version), rows_json(page), seed)
        self._popular[key.country, key.device] = made
        return made

    def _entry(self, key: PageKey, origin: Origin, rows: bytes, version: int, seed: int) -> CachedPage:
        partition = self._partition_of(key.member_id.encode())
        return CachedPage.computed(key, origin, rows=rows, version=version, partition=partition, seed=seed)


def _unpacked(value: bytes) -> EntityState:
    try:
        return MEMBER.unpack(value)
    except Corrupt as error:  # the agent that packs states rebuilds it; until then there is no fresh page
        raise TryAgain(f"state of the member unreadable ({error})") from error
