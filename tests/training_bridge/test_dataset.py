from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalogue import Catalogue, Title
from streams.errors import Corrupt, FixRequest
from streams.features.strength import strength
from tests.training_bridge.records import APPENDED_MS, START_MS, made_events, made_titles, place, record, table
from training_bridge.dataset import Dataset, build_dataset, offset_ranges, rebuild_dataset
from training_bridge.dataset_manifest import (
    DatasetParameters,
    OffsetRange,
    decode_dataset_manifest,
    encode_dataset_manifest,
)
from training_bridge.ranker.interactions import build_interactions

EVENTS = made_events()
TITLES = made_titles()


def dataset(rows=EVENTS, titles=TITLES, **parameters) -> Dataset:
    return build_dataset(table(rows), titles, DatasetParameters(**parameters))


def columns(built: Dataset) -> list[tuple[int, int, int]]:
    log = built.interactions
    return list(zip(log.member.tolist(), log.title.tolist(), log.time_ms.tolist(), strict=True))


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_in_which_files_are_read_changes_nothing(rng: random.Random) -> None:
    shuffled = rng.sample(EVENTS, len(EVENTS))
    assert dataset(shuffled).manifest == dataset().manifest
    assert dataset(shuffled).address == dataset().address
    assert columns(dataset(shuffled)) == columns(dataset())


def test_interactions_are_what_the_rankers_own_builder_makes_of_the_same_events() -> None:
    rows = sorted(EVENTS, key=lambda row: row["event_time_ms"])
    expected = build_interactions(
        [title.item_id for title in TITLES],
        [row["member_id"] for row in rows],
        [row["item_id"] for row in rows],
        [row["type"] for row in rows],
        [row["event_time_ms"] for row in rows],
        [strength(row["type"], row["value"]) for row in rows],
    )
    built = dataset().interactions
    assert (built.titles, built.members) == (expected.titles, expected.members)
    for name in ("member", "title", "time_ms", "strength", "engaged"):
        np.testing.assert_array_equal(getattr(built, name), getattr(expected, name))
        assert getattr(built, name).dtype == getattr(expected, name).dtype


def test_the_address_changes_with_an_event_a_title_or_a_parameter() -> None:
    changed = [*EVENTS[:-1], {**EVENTS[-1], "item_id": "t0" if EVENTS[-1]["item_id"] != "t0" else "t1"}]
    addresses = {
        dataset().address,
        dataset(changed).address,
        dataset(EVENTS[:-1]).address,
        dataset(titles=made_titles(31)).address,
        dataset(train_share=0.7).address,
    }
    assert len(addresses) == 5


def test_the_same_events_at_other_offsets_have_the_same_content_and_another_address() -> None:
    moved = [{**row, "offset": row["offset"] + 1_000} for row in EVENTS]
    assert dataset(moved).manifest.content == dataset().manifest.content
    assert dataset(moved).address != dataset().address


def test_a_repeated_delivery_counts_once_as_the_first_of_its_member() -> None:
    again = place([*EVENTS, *[{**row, "event_time_ms": row["event_time_ms"] + 1} for row in EVENTS[:50]]])
    assert columns(dataset(again)) == columns(dataset())
    assert dataset(again).manifest.duplicates == 50


def test_the_same_event_id_of_another_member_is_another_event() -> None:
    other = place([*EVENTS, record(EVENTS[0]["event_id"], "someone else", "t1", START_MS)])
    assert dataset(other).manifest.rows == len(EVENTS) + 1


def test_late_events_stand_where_they_happened() -> None:
    late = place([*EVENTS, record("late", "m1", "t2", START_MS - 1)])
    first = dataset(late).interactions
    assert first.time_ms[0] == START_MS - 1
    assert (np.diff(first.time_ms) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 0.99), st.integers(1, 3))
def test_no_event_at_or_after_the_split_is_trained_on(train_share: float, ties: int) -> None:
    rows = [{**row, "event_time_ms": START_MS + n // ties * 1_000} for n, row in enumerate(EVENTS)]
    built = dataset(rows, train_share=train_share)
    held_out = built.interactions.time_ms[built.manifest.train_rows :]
    assert (built.train.time_ms < built.manifest.split_ms).all()
    assert (held_out >= built.manifest.split_ms).all()
    assert len(built.train) + len(held_out) == len(rows)


def test_events_from_the_given_end_on_are_left_out() -> None:
    end = EVENTS[200]["event_time_ms"]
    built = dataset(until_ms=end)
    assert built.manifest.last_ms < end
    assert (built.manifest.rows, built.manifest.after_until) == (200, 200)


def test_titles_published_after_a_record_was_appended_are_unknown_to_it() -> None:
    published_late = [*TITLES, Title("new", "New", 2020, ("Comedy",), live_from_ms=APPENDED_MS + 1)]
    rows = place([*EVENTS, record("early", "m1", "new", START_MS), record("never", "m1", "nowhere", START_MS)])
    assert dataset(rows, published_late).manifest.unknown_titles == 2


def test_searches_without_a_title_are_left_out_and_counted() -> None:
    rows = place([*EVENTS, record("search", "m1", "", START_MS, type_="search")])
    built = dataset(rows).manifest
    assert (built.rows, built.untitled, built.unknown_titles) == (len(EVENTS), 1, 0)


def test_offset_ranges_join_neighbours_and_show_gaps() -> None:
    places = [(0, 1, 0), (0, 1, 1), (0, 1, 1), (0, 1, 3), (0, 2, 4), (2, 2, 5)]
    rows = [{**EVENTS[0], "partition": p, "epoch": e, "offset": o} for p, e, o in places]
    assert offset_ranges(table(rows)) == [
        OffsetRange(0, 1, 0, 1, 2),
        OffsetRange(0, 1, 3, 3, 1),
        OffsetRange(0, 2, 4, 4, 1),
        OffsetRange(2, 2, 5, 5, 1),
    ]
    assert offset_ranges(table([])) == []


def test_a_dataset_is_rebuilt_from_its_manifest_though_the_warehouse_and_the_catalogue_have_grown() -> None:
    built = dataset()
    more = place([*EVENTS, *[record(f"later{n}", "m1", "t1", START_MS + n) for n in range(20)]])
    manifest = decode_dataset_manifest(encode_dataset_manifest(built.manifest))
    again = rebuild_dataset(table(more), Catalogue(made_titles(40)), manifest)
    assert columns(again) == columns(built)
    assert again.address == built.address


@pytest.mark.parametrize("records", [EVENTS[1:], [{**EVENTS[0], "item_id": "t29"}, *EVENTS[1:]]])
def test_a_dataset_whose_records_are_gone_or_changed_is_refused(records) -> None:
    with pytest.raises(Corrupt, match="differ"):
        rebuild_dataset(table(records), Catalogue(TITLES), dataset().manifest)


def test_an_empty_or_small_warehouse_says_what_to_do() -> None:
    for rows in ([], EVENTS[:99]):
        with pytest.raises(FixRequest, match=r"training needs 100: load some with `marquee replay"):
            dataset(rows)
    with pytest.raises(FixRequest, match="0 member events of known titles"):
        dataset(titles=[])


def test_a_split_without_events_on_both_sides_is_refused() -> None:
    for split_ms in (START_MS, START_MS * 2):
        with pytest.raises(FixRequest, match="split_ms"):
            dataset(split_ms=split_ms)
    with pytest.raises(FixRequest, match="split_ms"):
        dataset([{**row, "event_time_ms": START_MS} for row in EVENTS])


@pytest.mark.parametrize("parameters", [{"train_share": 1.0}, {"train_share": float("nan")}, {"max_events": 0}])
def test_parameters_out_of_bounds_are_refused(parameters) -> None:
    with pytest.raises(FixRequest, match=next(iter(parameters))):
        dataset(**parameters)


def test_damaged_manifests_are_refused() -> None:
    for raw in (b"", b"{}", encode_dataset_manifest(dataset().manifest).replace(b'"format":1', b'"format":9')):
        with pytest.raises(Corrupt):
            decode_dataset_manifest(raw)
