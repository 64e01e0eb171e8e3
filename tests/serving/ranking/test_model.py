from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.models.loader import load_model
from serving.ranking.inputs import encode_history
from serving.ranking.model import BOUND_SNAPSHOTS, RankingModel
from serving.titles.snapshot import TitleOrder, TitleSnapshot
from streams.catalogue import Title
from streams.features.history import HistoryEntry
from streams.features.strength import strength
from streams.stores.blobs import BlobStore
from tests.serving.tiny_model import TITLE_FEATURES, store_tiny_model

GENRES = ["Action", "Comedy", "Drama"]
TITLES = [Title(f"t{number}", f"Title {number}", 2000, (GENRES[number % 3],)) for number in range(9)]
NOW_MS = 1_700_000_000_000
NOBODY = np.zeros(len(GENRES) + 1, np.float32)


@lru_cache
def model() -> RankingModel:
    blobs = BlobStore(Path(mkdtemp(prefix="marquee-model-")))
    return load_model(blobs, store_tiny_model(blobs, TITLES, GENRES))


def snapshot(item_ids: list[str], popularity: dict[str, float] | None = None) -> TitleSnapshot:
    features = np.zeros((len(item_ids), 1), np.float32)
    features[:, 0] = [(popularity or {}).get(item_id, 0.0) for item_id in item_ids]
    return TitleSnapshot(TitleOrder(item_ids), (TITLE_FEATURES[0],), features, NOW_MS)


def played(*item_ids: str) -> list[HistoryEntry]:
    return [HistoryEntry(item_id, "play", NOW_MS - 1000, None) for item_id in item_ids]


@given(st.permutations([f"t{number}" for number in range(9)] + ["new1", "new2"]), st.integers(0, 11))
def test_scores_follow_their_titles_into_any_order(order: list[str], kept: int) -> None:
    item_ids = order[:kept]
    popularity = {"t1": 5.0, "t4": 2.0, "new1": 9.0}
    reference = model().score(played("t0"), NOBODY, snapshot([t.item_id for t in TITLES], popularity), NOW_MS)
    scores = model().score(played("t0"), NOBODY, snapshot(item_ids, popularity), NOW_MS)
    for row, item_id in enumerate(item_ids):
        assert scores.known[row] == (item_id in model().vocabulary)
        if scores.known[row]:
            assert scores.score[row] == reference.score[model().vocabulary[item_id]]
            assert scores.parts_of(row) == reference.parts_of(model().vocabulary[item_id])
        else:
            assert scores.score[row] <= scores.score.min()
            assert scores.parts_of(row) == {}


def test_a_play_draws_similar_titles_up() -> None:
    titles = snapshot([title.item_id for title in TITLES])
    before = model().score([], NOBODY, titles, NOW_MS)
    after = model().score(played("t0"), NOBODY, titles, NOW_MS)
    gain = after.score - before.score
    assert gain[[3, 6]].min() > gain[[1, 2, 4, 5, 7, 8]].max()
    assert after.parts_of(3)["history"] > 0


def test_live_features_and_the_member_vector_count() -> None:
    titles = [title.item_id for title in TITLES]
    quiet = model().score([], NOBODY, snapshot(titles), NOW_MS)
    loud = model().score([], NOBODY, snapshot(titles, {"t5": 50.0}), NOW_MS)
    assert loud.score[5] > quiet.score[5]
    likes_comedy = np.array([0, 2, 0, 0], np.float32)
    assert model().score([], likes_comedy, snapshot(titles), NOW_MS).parts_of(1)["taste"] > 0


def test_the_same_inputs_give_the_same_bits() -> None:
    titles = snapshot([title.item_id for title in TITLES], {"t1": 3.0})
    first = model().score(played("t0", "t4"), NOBODY, titles, NOW_MS).score
    again = model().score(
        played("t0", "t4"), NOBODY, snapshot([title.item_id for title in TITLES], {"t1": 3.0}), NOW_MS
    )
    assert first.tobytes() == again.score.tobytes()


def test_neighbours_are_found_in_any_order_of_titles() -> None:
    shuffled = snapshot(["new", "t8", "t6", "t3", "t0", "t1"])
    near = model().neighbour_rows(4, shuffled)
    assert [shuffled.item_ids[row] for row in near] == [
        i for i, _ in model().similar("t0", 9) if i in shuffled.item_ids
    ]
    assert model().neighbour_rows(0, shuffled).size == 0
    source = model().nearest_of(np.array([0, 4]), shuffled)
    assert set(source.tolist()) <= {-1, 1}
    assert all((source[row] == 1) == (row in near) for row in range(6))


def test_similar_titles_of_an_unknown_one_are_none() -> None:
    assert model().similar("nothing", 5) == []
    similar = model().similar("t0", 2)
    assert len(similar) == 2
    assert similar[0][1] >= similar[1][1]


def test_a_model_keeps_few_snapshots_bound() -> None:
    fresh = [snapshot(["t0", "t1"]) for _ in range(BOUND_SNAPSHOTS + 3)]
    bound = [model().bind(one) for one in fresh]
    assert model().bind(fresh[-1]) is bound[-1]
    assert model().bind(fresh[0]) is not bound[0]


entries = st.lists(
    st.builds(
        HistoryEntry,
        st.sampled_from(["a", "b", "unknown", ""]),
        st.sampled_from(["play", "rate", "dislike", "search"]),
        st.integers(0, NOW_MS + 10_000),
        st.none() | st.floats(0.5, 5),
    ),
    max_size=12,
)


@given(entries, st.integers(1, 8))
def test_a_history_is_encoded_newest_first_and_padded(history: list[HistoryEntry], length: int) -> None:
    titles, ages_s, strengths = encode_history(history, {"a": 0, "b": 1}, length, NOW_MS)
    assert titles.dtype == np.int64
    assert ages_s.dtype == strengths.dtype == np.float32
    for place in range(length):
        if place < len(history):
            entry = history[place]
            assert titles[place] == {"a": 0, "b": 1}.get(entry.item_id, 2)
            assert ages_s[place] == np.float32(max(NOW_MS - entry.event_time_ms, 0) / 1000)
            assert strengths[place] == np.float32(strength(entry.type, entry.value))
        else:
            assert (titles[place], ages_s[place], strengths[place]) == (2, 0, 0)
