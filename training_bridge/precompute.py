"""Batch prediction: every known member's page, computed ahead, for when a fresh one cannot be made.

Pages go to the durable store, then to the hot one, as kind "precomputed": 8 bytes of the time they were computed at
(Unix, ms), which is their position, then the page as JSON. A page that the same model computed lately from the state
the member still has is left as it is, so that a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from serving.pages.builder import PageInputs, build_page
from serving.pages.page import Page, PageContext
from serving.pages.params import DEFAULT_PARAMS, PageParams
from serving.ranking.model import RankingModel
from serving.titles import TitleSnapshot
from streams.catalogue import Catalogue
from streams.errors import Corrupt, SlowDown, TryAgain
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER, member_key
from streams.positions import NOTHING
from streams.stores.protocol import POSITION_BYTES, DurableStore, StateEntry, StateStore, position_of

PRECOMPUTED: Final = "precomputed"
CHUNK: Final = 128
"""Members whose states are held at once: some 50 kB each at the most, and a store write of a few MB."""
MAX_MEMBERS: Final = 1_000_000
"""Members of one run, the most recently seen: at 5 ms a page, more would take longer than a night."""

_decoder = msgspec.json.Decoder(Page)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class PageSource:
    """What all pages of a run have in common."""

    catalogue: Catalogue
    snapshot: TitleSnapshot
    model: RankingModel
    params: PageParams = DEFAULT_PARAMS


@dataclass(slots=True)
class Precomputed:
    """How a run went, in members: pages computed, pages left as they were, states that could not be read.

    hot_problem: why some pages are in the durable store only, "" if none are.
    """

    computed: int = 0
    left: int = 0
    unreadable: int = 0
    hot_problem: str = ""

    @property
    def members(self) -> int:
        """All that were looked at."""
        return self.computed + self.left + self.unreadable


def precompute(
    source: PageSource,
    hot: StateStore,
    durable: DurableStore,
    *,
    clock_ms: Callable[[], int],
    max_age_ms: int,
    limit: int = MAX_MEMBERS,
) -> Iterator[Precomputed]:
    """Compute pages chunk by chunk, yielding how the run stands after each (the same object, growing).

    max_age_ms: how old a page may be that is left as it is. Raises TryAgain when the durable store is away.
    """
    done = Precomputed()
    members = durable.member_ids(min(limit, MAX_MEMBERS))
    for start in range(0, len(members), CHUNK):
        _chunk(source, hot, durable, members[start : start + CHUNK], clock_ms(), max_age_ms, done)
        yield done


def encode_page(page: Page) -> bytes:
    """Return a page as it is stored."""
    return page.computed_at_ms.to_bytes(POSITION_BYTES, "big") + _encoder.encode(page)


def decode_page(value: bytes) -> Page:
    """Return the page in a stored value. Raises Corrupt."""
    try:
        return _decoder.decode(value[POSITION_BYTES:])
    except msgspec.DecodeError as error:
        raise Corrupt(f"precomputed page: {error}") from None


def page_seed(member_id: str, now_ms: int) -> int:
    """Return the seed of a page's chance: of this member and this time only, so that a run can be repeated exactly."""
    return int.from_bytes(hashlib.sha256(f"{member_id}\0{now_ms}".encode()).digest()[:4], "big")


def _chunk(
    source: PageSource,
    hot: StateStore,
    durable: DurableStore,
    members: Sequence[str],
    now_ms: int,
    max_age_ms: int,
    done: Precomputed,
) -> None:
    keys = [member_key(member_id) for member_id in members]
    states, stored = durable.get(MEMBER.name, keys), durable.get(PRECOMPUTED, keys)
    entries = []
    for member_id, key, state, value in zip(members, keys, states, stored, strict=True):
        position = position_of(state) if state is not None else NOTHING
        if value is not None and is_current(value, source.model.version, position, now_ms - max_age_ms):
            done.left += 1
            continue
        try:
            entries.append(StateEntry(key, encode_page(_page(source, durable, member_id, state, now_ms))))
        except Corrupt:
            done.unreadable += 1
    durable.put(PRECOMPUTED, entries)
    done.computed += len(entries)
    try:
        hot.put(PRECOMPUTED, entries)
    except (TryAgain, SlowDown) as error:
        done.hot_problem = str(error)


def is_current(value: bytes, model_version: str, state_position: int, oldest_ms: int) -> bool:
    """Return whether a stored page is young enough, of this model, and of the state that the member still has."""
    if position_of(value) < oldest_ms:
        return False
    try:
        page = decode_page(value)
    except Corrupt:
        return False
    return page.model_version == model_version and page.feature_position >= state_position


def _page(source: PageSource, durable: DurableStore, member_id: str, value: bytes | None, now_ms: int) -> Page:
    profile = durable.profile(member_id)
    country, device = (profile.country, profile.device) if profile is not None else ("", "")
    context = PageContext(member_id, now_ms, page_seed(member_id, now_ms), country, device)
    state: EntityState | None = MEMBER.unpack(value) if value is not None else None
    return build_page(PageInputs(state, source.catalogue, source.snapshot, source.model, context, source.params))
