from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from serving.titles import SnapshotArchive, TitleBoard, TitleOrder, TitleSnapshot
from serving.titles.board import DURABLE_EVERY, RENEW_AFTER_MS
from serving.titles.columns import FEATURES
from serving.titles.snapshot import empty_snapshot
from streams.catalogue import Catalogue, Title
from streams.errors import Corrupt, TryAgain
from streams.events import Event
from streams.features.entity_state import EntityState
from streams.features.title import TITLE, TITLE_FEATURES, TITLE_SHOWN, title_key, title_vector
from streams.features.view import View
from streams.positions import pack_position
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import StateEntry

HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS + 1000
TITLES = [Title(f"t{number}", f"Title {number}", 1990 + number if number else 0, ("Drama",)) for number in range(6)]
TYPES = ["view", "click", "play", "complete", "rate", "skip", "dislike", "like"]


class Store:
    """A store of title states that can be away, lose everything, or hold rubbish."""

    def __init__(self) -> None:
        self.values: dict[str, dict[bytes, bytes]] = {TITLE.name: {}, TITLE_SHOWN.name: {}}
        self.states: dict[tuple[str, bytes], EntityState] = {}
        self.away = False
        self.scans = 0

    def fold(self, view: View, item_id: str, partition: int, event: Event, offset: int) -> None:
        key = title_key(item_id, partition)
        state = self.states.setdefault((view.name, key), view.initialize())
        assert view.fold(state, event, pack_position(1, offset), ("Drama",))
        self.values[view.name][key] = view.pack(state)

    def play(self, item_id: str, offset: int, time_ms: int = NOW_MS) -> None:
        self.fold(TITLE, item_id, 0, Event(f"e{offset}", "play", "m", time_ms, item_id), offset)

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        self.scans += 1
        if self.away:
            raise TryAgain("away")
        yield from sorted(self.values[kind].items())

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        raise NotImplementedError

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        raise NotImplementedError

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        raise NotImplementedError

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def board(hot: Store, durable: Store | None = None, titles: Sequence[Title] = TITLES) -> TitleBoard:
    catalogue = Catalogue(titles)
    return TitleBoard(lambda: catalogue, hot, durable or Store(), NOW_MS, pause=lambda: None)


def value(snapshot: TitleSnapshot, item_id: str, name: str) -> float:
    return float(snapshot.column(name)[snapshot.order.rows[item_id]])


def reference(store: Store, item_id: str, now_ms: int) -> np.ndarray:
    """Return a title's features as the one-title definition says them."""
    merged = [
        view.merge([s for (name, key), s in store.states.items() if name == view.name and key.startswith(prefix)])
        for view, prefix in ((TITLE, item_id.encode() + b"\0"), (TITLE_SHOWN, item_id.encode() + b"\0"))
    ]
    return title_vector(merged[0], merged[1], TITLE_FEATURES, now_ms)


folds = st.lists(
    st.tuples(
        st.sampled_from([TITLE, TITLE, TITLE_SHOWN]),
        st.integers(0, 5),
        st.integers(0, 3),
        st.sampled_from(TYPES),
        st.integers(0, 100 * 24),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(folds, st.lists(st.integers(1, 59), max_size=3))
def test_a_board_says_what_the_definition_of_one_title_says(
    chosen: list[tuple[View, int, int, str, int, bool]], refreshes: list[int]
) -> None:
    hot = Store()
    one = board(hot)
    now_ms = NOW_MS
    for offset, (view, title, partition, event_type, hours_ago, paged) in enumerate(chosen):
        stars = 4.0 if event_type == "rate" else None
        event = Event(
            f"e{offset}",
            "view" if view is TITLE_SHOWN else event_type,  # type: ignore[arg-type]  # drawn from the event types
            "m",
            NOW_MS - hours_ago * HOUR_MS,
            f"t{title}",
            page_id="p" if paged else None,
            value=stars,
        )
        hot.fold(view, f"t{title}", partition, event, offset)
        if refreshes and offset % 20 == 19:
            one.refresh(now_ms)
    one.refresh(now_ms)
    names = list(TITLE_FEATURES)
    got = one.current.columns(names)
    for row in range(6):
        np.testing.assert_allclose(got[row], reference(hot, f"t{row}", now_ms), rtol=1e-5, atol=1e-6)


def test_a_refresh_takes_in_what_changed_and_nothing_else() -> None:
    hot = Store()
    hot.play("t1", 1)
    hot.play("t2", 2)
    one = board(hot)
    assert one.refresh(NOW_MS)
    first = one.current
    assert not one.refresh(NOW_MS + 1000)
    assert one.current is first
    hot.play("t1", 3)
    assert one.refresh(NOW_MS + 2000)
    assert value(one.current, "t1", "count:1d") == 2
    assert value(first, "t1", "count:1d") == 1
    assert value(one.current, "t2", "count:1d") == 1
    assert one.current.as_of_ms == NOW_MS
    assert one.current.base is first
    assert one.current.address != first.address


def test_decay_goes_on_without_events() -> None:
    hot = Store()
    hot.play("t1", 1, NOW_MS - 10 * 86_400_000)
    one = board(hot)
    one.refresh(NOW_MS)
    before = value(one.current, "t1", "popularity:7d")
    assert not one.refresh(NOW_MS + RENEW_AFTER_MS - 1)
    assert one.refresh(NOW_MS + RENEW_AFTER_MS)
    assert one.current.base is None
    assert one.current.as_of_ms == NOW_MS + RENEW_AFTER_MS
    assert value(one.current, "t1", "popularity:7d") < before
    expected = reference(hot, "t1", NOW_MS + RENEW_AFTER_MS)
    np.testing.assert_allclose(one.current.columns(TITLE_FEATURES)[1], expected, rtol=1e-6)


def test_windows_move_with_the_clock() -> None:
    hot = Store()
    hot.play("t1", 1, NOW_MS - 23 * HOUR_MS)
    one = board(hot)
    one.refresh(NOW_MS)
    assert value(one.current, "t1", "count:1d") == 1
    one.refresh(NOW_MS + HOUR_MS)
    assert value(one.current, "t1", "count:1d") == 0
    assert value(one.current, "t1", "count:7d") == 1


def test_titles_published_later_appear_with_what_happened_before() -> None:
    hot = Store()
    hot.play("t5", 1)
    catalogues = [Catalogue(TITLES[:3]), Catalogue(TITLES)]
    current = catalogues[0]
    one = TitleBoard(lambda: current, hot, Store(), NOW_MS, pause=lambda: None)
    one.refresh(NOW_MS)
    assert one.current.item_ids == ("t0", "t1", "t2")
    current = catalogues[1]
    assert one.refresh(NOW_MS + 1)
    assert value(one.current, "t5", "count:1d") == 1


def test_a_hot_store_that_is_away_leaves_the_snapshot_and_says_so() -> None:
    hot, durable = Store(), Store()
    hot.play("t1", 1)
    one = board(hot, durable)
    one.refresh(NOW_MS)
    hot.away = True
    assert not one.refresh(NOW_MS + 1000)
    assert one.problem is not None
    assert value(one.current, "t1", "count:1d") == 1
    hot.away = False
    one.refresh(NOW_MS + 2000)
    assert one.problem is None


def test_while_the_hot_store_is_away_the_durable_one_is_read_now_and_then() -> None:
    hot, durable = Store(), Store()
    hot.away = True
    one = board(hot, durable)
    one.refresh(NOW_MS)
    durable.play("t1", 1)
    one.refresh(NOW_MS + 1000)
    scans = durable.scans
    for _ in range(DURABLE_EVERY):
        one.refresh(NOW_MS + 2000)
    assert 0 < durable.scans - scans <= 2
    assert value(one.current, "t1", "count:1d") == 1


def test_a_lost_hot_store_takes_nothing_back() -> None:
    hot, durable = Store(), Store()
    for offset in range(1, 4):
        hot.play("t1", offset)
    durable.values = {kind: dict(values) for kind, values in hot.values.items()}
    hot.values[TITLE.name].clear()
    one = board(hot, durable)
    one.refresh(NOW_MS)
    assert value(one.current, "t1", "count:1d") == 3
    lagging = Store()
    lagging.play("t1", 1)
    hot.values = lagging.values
    one.refresh(NOW_MS + 1000)
    assert value(one.current, "t1", "count:1d") == 3


def test_a_state_that_cannot_be_read_costs_its_own_title_only() -> None:
    hot = Store()
    hot.play("t1", 1)
    hot.values[TITLE.name][title_key("t2", 0)] = b"\0" * 7 + b"\1rubbish"
    one = board(hot)
    one.refresh(NOW_MS)
    assert value(one.current, "t1", "count:1d") == 1
    assert value(one.current, "t2", "count:1d") == 0


def test_snapshots_are_prepared_before_they_are_current() -> None:
    hot, prepared = Store(), []
    catalogue = Catalogue(TITLES)
    one = TitleBoard(
        lambda: catalogue,
        hot,
        Store(),
        pause=lambda: None,
        prepare=lambda snapshot: prepared.append((snapshot, one.current)),
    )
    one.refresh(NOW_MS)
    assert prepared[0][0] is one.current
    assert prepared[0][1] is not one.current


def test_a_board_follows_a_real_store_on_its_thread(tmp_path: Path) -> None:
    store = EmbeddedHotStore(tmp_path / "hot", 1 << 24)
    state = TITLE.initialize()
    TITLE.fold(state, Event("e1", "play", "m", NOW_MS, "t1"), pack_position(1, 1), ())
    catalogue = Catalogue(TITLES)
    one = TitleBoard(lambda: catalogue, store, Store())
    one.start(0.005, lambda: NOW_MS)
    store.put(TITLE.name, [StateEntry(title_key("t1", 2), TITLE.pack(state))])
    for _ in range(400):
        if value(one.current, "t1", "count:1d"):
            break
        one._stop.wait(0.005)
    one.close()
    store.close()
    assert value(one.current, "t1", "count:1d") == 1


snapshots = st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 2**31)).map(
    lambda shape: TitleSnapshot(
        TitleOrder([f"title \N{SNOWMAN} {row}" for row in range(shape[0])]),
        tuple(f"f{column}" for column in range(shape[1])),
        np.random.default_rng(shape[2]).normal(size=shape[:2]).astype(np.float32),
        shape[2],
    )
)


@given(snapshots)
def test_a_snapshot_survives_its_bytes(snapshot: TitleSnapshot) -> None:
    again = TitleSnapshot.from_bytes(snapshot.to_bytes())
    assert again.item_ids == snapshot.item_ids
    assert again.names == snapshot.names
    assert again.as_of_ms == snapshot.as_of_ms
    assert again.features.tobytes() == snapshot.features.tobytes()
    assert again.address == snapshot.address


def changed(base: TitleSnapshot, row: int, to: float) -> TitleSnapshot:
    features = base.features.copy()
    features[row] = to
    return TitleSnapshot(base.order, base.names, features, base.as_of_ms, base)


def some_snapshot(seed: int, rows: int = 200) -> TitleSnapshot:
    features = np.random.default_rng(seed).normal(size=(rows, len(FEATURES))).astype(np.float32)
    return TitleSnapshot(TitleOrder([f"t{row}" for row in range(rows)]), FEATURES, features, seed)


def test_a_difference_is_small_and_exact() -> None:
    base = some_snapshot(1)
    small = changed(base, 7, np.nan)
    assert len(small.to_bytes()) < len(base.to_bytes()) / 20
    again = TitleSnapshot.from_bytes(small.to_bytes(), {base.address: base}.__getitem__)
    assert again.features.tobytes() == small.features.tobytes()
    with pytest.raises(Corrupt):
        TitleSnapshot.from_bytes(small.to_bytes())


@pytest.mark.parametrize("raw", [b"", b"rubbish", some_snapshot(1).to_bytes()[:-9]])
def test_bytes_that_are_no_snapshot_are_refused(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        TitleSnapshot.from_bytes(raw)


def test_features_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="read-only"):
        some_snapshot(1).features[0, 0] = 1


def test_unknown_features_are_zero() -> None:
    snapshot = empty_snapshot(("a", "b"), ("x",), 0)
    assert snapshot.columns(["nothing", "x"]).shape == (2, 2)
    assert not snapshot.column("nothing").any()


def test_an_archive_gives_back_what_it_keeps(tmp_path: Path) -> None:
    base = some_snapshot(1)
    small = changed(base, 3, 1.0)
    archive = SnapshotArchive(tmp_path)
    assert archive.persist(small) == small.address
    archive.persist(small)
    found = SnapshotArchive(tmp_path).load(small.address)
    assert found.features.tobytes() == small.features.tobytes()
    assert SnapshotArchive(tmp_path).load(base.address).address == base.address


def test_an_archive_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    several = [some_snapshot(seed) for seed in range(5)]
    size = len(several[0].to_bytes())
    archive = SnapshotArchive(tmp_path, max_bytes=size * 3)
    for snapshot in several:
        archive.persist(snapshot)
    kept = [path for path in tmp_path.glob("??/??/*") if path.is_file()]
    stored = sum(path.stat().st_size for path in kept)
    assert stored <= size * 3
    assert REGISTRY.get_sample_value("marquee_title_snapshots_stored_bytes") == stored
    assert archive.load(several[4].address).address == several[4].address
    with pytest.raises(TryAgain):
        archive.load(several[0].address)


def test_an_archive_knows_the_age_of_what_an_earlier_process_left(tmp_path: Path) -> None:
    several = [some_snapshot(seed) for seed in range(3)]
    for age, snapshot in enumerate(several):
        SnapshotArchive(tmp_path).persist(snapshot)
        path = next(tmp_path.glob(f"??/??/{snapshot.address}"))
        os.utime(path, ns=(age, age))
    SnapshotArchive(tmp_path, max_bytes=len(several[0].to_bytes()) * 3).persist(some_snapshot(9))
    with pytest.raises(TryAgain):
        SnapshotArchive(tmp_path).load(several[0].address)
    assert SnapshotArchive(tmp_path).load(several[2].address).as_of_ms == 2


def test_a_damaged_snapshot_is_not_used(tmp_path: Path) -> None:
    snapshot = some_snapshot(1)
    SnapshotArchive(tmp_path).persist(snapshot)
    path = next(tmp_path.glob(f"??/??/{snapshot.address}"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt):
        SnapshotArchive(tmp_path).load(snapshot.address)


def test_a_surprise_at_the_start_neither_ends_it_nor_keeps_new_titles_away(caplog: pytest.LogCaptureFixture) -> None:
    hot = Store()
    hot.values[TITLE.name][b"\xff\x00\x00\x00"] = bytes(20)  # no title has such a key
    titles = board(hot)
    titles.start(60.0, lambda: NOW_MS)
    titles.close()
    assert "could not be refreshed" in caplog.text
    hot.values[TITLE.name].clear()
    hot.play("t1", 1)
    assert titles.refresh(NOW_MS)
    assert value(titles.current, "t1", "count:1d") == 1
