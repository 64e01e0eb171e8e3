"""A small world for page tests: a catalogue, members who did things, title features, and a tiny model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from serving.models.loader import load_model
from serving.pages.builder import PageInputs, PageParams
from serving.pages.page import Page, PageContext
from serving.ranking.model import RankingModel
from serving.titles.columns import FEATURES, StatesOf, feature_matrix
from serving.titles.snapshot import TitleOrder, TitleSnapshot
from streams.catalogue import Catalogue, Title
from streams.events import Event, EventType
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER
from streams.features.title import TITLE
from streams.positions import pack_position
from streams.stores.blobs import BlobStore
from tests.serving.tiny_model import store_tiny_model

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance")


@dataclass(frozen=True)
class World:
    """A catalogue with its snapshot and model."""

    catalogue: Catalogue
    snapshot: TitleSnapshot
    model: RankingModel

    def inputs(
        self, state: EntityState | None, *, seed: int = 1, now_ms: int = NOW_MS, params: PageParams | None = None
    ) -> PageInputs:
        """Return the inputs of a page for a member in this state."""
        context = PageContext("m1", now_ms, seed)
        return PageInputs(
            state, self.catalogue, self.snapshot, self.model, context, params if params is not None else PageParams()
        )


def titles(count: int) -> list[Title]:
    """Return titles t0, t1, … of one or two genres; each third lasts 100 minutes, of others that is not known."""
    return [
        Title(
            f"t{number}",
            f"Title {number}",
            1980 + number % 40,
            tuple(sorted({GENRES[number % 5], GENRES[(number // 5) % 5]})),
            duration_s=6000 if number % 3 == 0 else 0,
        )
        for number in range(count)
    ]


@lru_cache(maxsize=16)
def world(count: int = 300, known: int | None = None, watched: bool = True) -> World:
    """Return a world of `count` titles of which the model knows the first `known`; watched: whether anybody watches."""
    all_titles = titles(count)
    catalogue = Catalogue(all_titles)
    vocabulary = all_titles[: count if known is None else known] or [Title("elsewhere", "Elsewhere", 0, ())]
    blobs = BlobStore(Path(tempfile.mkdtemp(prefix="marquee-world-")))
    model = load_model(blobs, store_tiny_model(blobs, vocabulary, GENRES))
    return World(catalogue, snapshot(all_titles, crowd(all_titles) if watched else ()), model)


def crowd(all_titles: Sequence[Title]) -> list[Event]:
    """Return the plays of a crowd that likes the first titles best; the last fifth is never played."""
    rng = np.random.default_rng(5)
    size = max(len(all_titles) * 4 // 5, 1)
    picks = (rng.random(len(all_titles) * 20) ** 2 * size).astype(int)
    ages_ms = (rng.random(len(picks)) * 20 * 86_400_000).astype(int)
    return [
        event("play", all_titles[pick].item_id, minutes_ago=int(age_ms // MINUTE_MS), number=number)
        for number, (pick, age_ms) in enumerate(zip(picks, ages_ms, strict=True))
    ]


def snapshot(all_titles: Sequence[Title], events: Iterable[Event], now_ms: int = NOW_MS) -> TitleSnapshot:
    """Return the snapshot of titles after some events."""
    order = TitleOrder([title.item_id for title in all_titles])
    states: dict[int, EntityState] = {}
    for offset, one in enumerate(events):
        row = order.rows[one.item_id]
        state = states.setdefault(row, TITLE.initialize())
        TITLE.fold(state, one, pack_position(1, offset), all_titles[row].genres)
    of = StatesOf(np.array(list(states), np.intp), list(states.values()))
    matrix = feature_matrix(len(order), of, StatesOf(np.array([], np.intp), []), now_ms)
    return TitleSnapshot(order, FEATURES, matrix.astype(np.float32), now_ms)


def event(
    event_type: EventType, item_id: str, *, minutes_ago: int = 0, value: float | None = None, number: int = 0
) -> Event:
    """Return an event of member m1."""
    time_ms = NOW_MS - minutes_ago * MINUTE_MS
    return Event(f"e{number}-{event_type}-{item_id}-{time_ms}", event_type, "m1", time_ms, item_id, value=value)


def member(catalogue: Catalogue, events: Iterable[Event]) -> EntityState:
    """Return a member's state after some events, as it is read from a store."""
    state = MEMBER.initialize()
    for offset, one in enumerate(events):
        genres = catalogue[one.item_id].genres if one.item_id in catalogue else ()
        MEMBER.fold(state, one, pack_position(1, offset), genres)
    return MEMBER.unpack(MEMBER.pack(state))


def comedy_fan(catalogue: Catalogue, count: int = 12) -> EntityState:
    """Return the state of a member who lately watched comedies."""
    comedies = [title.item_id for title in catalogue.values() if "Comedy" in title.genres][:count]
    return member(
        catalogue, [event("play", item_id, minutes_ago=60 * (count - place)) for place, item_id in enumerate(comedies)]
    )


def shown_ids(page: Page) -> list[str]:
    """Return the ids of all titles on a page, in order."""
    return [item.item_id for row in page.rows for item in row.items]
