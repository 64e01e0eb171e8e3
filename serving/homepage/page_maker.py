"""Makes pages from what serving holds now: catalogue, title snapshot and model are each taken once per page.

A page is made as its request's treatment says. Where the model that a treatment names is not there (it is refused, or
not loaded yet), the champion makes the page: a member is better served so than from a lower step. The page says so, and
its exposures are marked (`step` is `fallback`), for such a page does not show the variant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from serving import metrics
from serving.catalogue_holder import CatalogueHolder
from serving.homepage.page_cache import CachedPage, Origin, PageKey
from serving.homepage.page_json import rows_json
from serving.homepage.request import HomepageRequest
from serving.homepage.shared_page import decode_shared, encode_shared
from serving.homepage.state_reader import MemberState
from serving.models.holder import ModelHolder
from serving.models.registry import CHAMPION
from serving.pages.builder import PageInputs, build_page
from serving.pages.page import Page, PageContext
from serving.pages.params import PageParams
from serving.pages.popular import popular_page
from serving.pages.shelves import shelves_of
from serving.ranking.model import RankingModel
from serving.titles import TitleBoard
from streams.errors import Corrupt, TryAgain
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER
from streams.positions import NOTHING

POPULAR_KEPT_MS = 1_000
"""What an overloaded process serves: made once a second for each kind of asker, not for each request."""

MAX_POPULAR_KEPT = 64
"""Kinds of asker (country and device) that a popular page is kept for."""


class Chosen(NamedTuple):
    """The model that makes a page. lacking: why it is not the one that the treatment names, None if it is."""

    model: RankingModel
    lacking: str | None


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
        self.models = models
        """Plain to read, for cache hits."""
        self._params = params
        self._version = params.version
        self._partition_of = partition_of
        self._popular: dict[tuple[str, str], tuple[Origin, bytes, int]] = {}
        """By country and device: the origin, the rows in JSON, and the seed."""

    def model_version(self, request: HomepageRequest) -> str | None:
        """Return the version of the model that makes a request's page: of the one that its treatment names, or else of
        the champion; None while there is neither. (`models.versions` says what would be the version of the former.)"""
        versions = self.models.versions
        return versions.get(request.model) or versions.get(None)

    @property
    def title_count(self) -> int:
        """How many titles the catalogue has."""
        return len(self._catalogue.current)

    def warm(self) -> None:
        """Prepare the newest snapshot for pages, so that none of them has to. Blocks for milliseconds: any thread's."""
        snapshot, models = self._titles.current, self.models.models
        shelves_of(self._catalogue.current, snapshot, self._params)
        for model in models.values():
            model.bind(snapshot)

    def fresh(self, request: HomepageRequest, member: MemberState, now_ms: int, seed: int) -> CachedPage:
        """Return a member's page. Raises TryAgain without a model, and if the state cannot be unpacked."""
        key, treatment = request.key, request.treatment
        model, lacking = self._choose(request)
        state = _unpacked(member.value) if member.value is not None else None
        snapshot = self._titles.current  # before the catalogue, which then has all of its titles
        context = PageContext(key.member_id, now_ms, seed, key.country, key.device)
        inputs = PageInputs(state, self._catalogue.current, snapshot, model, context, treatment.params)
        with metrics.PAGE_BUILD_SECONDS.time():
            page = build_page(inputs)
        origin = Origin(page, member.value, snapshot, treatment.version, treatment.changes)
        return self._entry(request, origin, rows_json(page), member.version, seed, lacking)

    def popular(self, request: HomepageRequest, now_ms: int, seed: int) -> CachedPage:
        """Return a page of what most members watch; it needs no store and no model, and may have no rows. No treatment
        changes it."""
        kept = self._popular.get((request.key.country, request.key.device))
        if kept is None or not 0 <= now_ms - kept[0].page.computed_at_ms < POPULAR_KEPT_MS:
            kept = self._make_popular(request.key, now_ms, seed)
        origin, rows, seed = kept
        return self._entry(request, origin, rows, 0, seed)

    def empty(self, request: HomepageRequest, now_ms: int) -> CachedPage:
        """Return a page without rows, which nothing can keep from being made."""
        page = Page(request.key.member_id, [], now_ms, None, NOTHING, 0, None)
        return self._entry(request, Origin(page, None, None, ""), b"[]", 0, 0)

    def stored(self, request: HomepageRequest, page: Page) -> CachedPage:
        """Return a page that was computed earlier, elsewhere."""
        return self._entry(request, Origin(page, None, None, ""), rows_json(page), 0, 0)

    def shared(self, entry: CachedPage) -> bytes:
        """Return a fresh page that has been shown, for other processes."""
        return encode_shared(entry)

    def from_shared(self, request: HomepageRequest, value: bytes) -> CachedPage | None:
        """Return a page that another process has made and shown, None if it is of no use here."""
        partition = self._partition_of(request.member_key)
        entry = decode_shared(value, request.key, partition, request.treatment)
        if entry is not None and entry.model_version != self.models.versions.get(request.model):
            entry.lacking = self._lacking(request)
        return entry

    def _choose(self, request: HomepageRequest) -> Chosen:
        models = self.models.models
        if request.model is not None and (model := models.get(request.model)) is not None:
            return Chosen(model, None)
        model = models.get(CHAMPION)
        if model is None:
            raise TryAgain(f"model unavailable ({self.models.refusal or 'none is registered'})")
        return Chosen(model, self._lacking(request))

    def _lacking(self, request: HomepageRequest) -> str | None:
        if request.model is None:
            return None
        reason = self.models.refusals.get(request.model, "it is not loaded yet")
        return f"model {request.model[:12]} unavailable, the champion stands in ({reason})"

    def _make_popular(self, key: PageKey, now_ms: int, seed: int) -> tuple[Origin, bytes, int]:
        snapshot = self._titles.current  # before the catalogue, which then has all of its titles
        context = PageContext(key.member_id, now_ms, seed, key.country, key.device)
        page = popular_page(self._catalogue.current, snapshot, context, self._params)
        if len(self._popular) >= MAX_POPULAR_KEPT:
            self._popular.clear()
        made = (Origin(page, None, snapshot, self._version), rows_json(page), seed)
        self._popular[key.country, key.device] = made
        return made

    def _entry(
        self, request: HomepageRequest, origin: Origin, rows: bytes, version: int, seed: int, lacking: str | None = None
    ) -> CachedPage:
        treatment = request.treatment
        if origin.page.variants != treatment.variants:
            page = msgspec.structs.replace(origin.page, variants=dict(treatment.variants))
            origin = origin._replace(page=page)
        partition = self._partition_of(request.member_key)
        return CachedPage.computed(
            request.key,
            origin,
            rows=rows,
            version=version,
            partition=partition,
            seed=seed,
            treatment=treatment,
            lacking=lacking,
        )


def _unpacked(value: bytes) -> EntityState:
    try:
        return MEMBER.unpack(value)
    except Corrupt as error:  # the agent that packs states rebuilds it; until then there is no fresh page
        raise TryAgain(f"state of the member unreadable ({error})") from error
