from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from serving.models.loader import load_model
from serving.pages.builder import build_page
from serving.titles import TitleBoard
from streams.catalogue import Catalogue
from streams.errors import FixRequest, TryAgain
from streams.events import Event
from streams.features.member import MEMBER, member_key
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.open import open_durable, open_hot
from streams.stores.protocol import DurableStore, Profile, StateEntry, StateStore, position_of
from streams.stores.sql import open_sql
from tests.serving.tiny_model import write_tiny_model
from tests.training_bridge.records import GENRES, START_MS, made_events, made_titles
from tests.training_bridge.warehouse import publish
from training_bridge import precompute as job
from training_bridge.precompute import PageSource, Precomputed, decode_page
from training_bridge.precompute_job import report_line, run_precompute

NOW_MS = START_MS + 86_400_000
HOUR_MS = 3_600_000
TITLES = made_titles()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, hot_max_bytes=1 << 26)


@pytest.fixture
def hot(settings: Settings) -> Iterator[StateStore]:
    store = open_hot(settings)
    yield store
    store.close()


@pytest.fixture
def durable(settings: Settings) -> Iterator[DurableStore]:
    store = open_durable(settings)
    fold_members(store, [Event(**event_of(row)) for row in made_events(300)])
    yield store
    store.close()


@pytest.fixture
def source(settings: Settings, hot: StateStore, durable: DurableStore) -> PageSource:
    engine, blobs = open_sql(settings), BlobStore(settings.path_of(settings.blobs_url))
    version = write_tiny_model(blobs, engine, TITLES, GENRES)
    engine.dispose()
    catalogue = Catalogue(TITLES)
    board = TitleBoard(lambda: catalogue, hot, durable, NOW_MS)
    board.refresh(NOW_MS)
    return PageSource(catalogue, board.current, load_model(blobs, version))


def event_of(row):
    return {name: row[name] for name in Event.__struct_fields__ if name in row}


def fold_members(store: DurableStore, events: list[Event], position: int = 1) -> None:
    states = {}
    for offset, event in enumerate(events):
        state = states.setdefault(event.member_id, MEMBER.initialize())
        title = next(title for title in TITLES if title.item_id == event.item_id)
        MEMBER.fold(state, event, position + offset, title.genres)
    store.put("member", [StateEntry(member_key(m), MEMBER.pack(state)) for m, state in states.items()])
    store.put_profiles([Profile(m, "DE", "tv", START_MS, START_MS + n) for n, m in enumerate(states)])


def run(source: PageSource, hot: StateStore, durable: DurableStore, now_ms: int = NOW_MS, **bounds) -> Precomputed:
    bounds = {"max_age_ms": HOUR_MS, **bounds}
    return list(job.precompute(source, hot, durable, clock_ms=lambda: now_ms, **bounds))[-1]


def test_every_members_page_is_in_both_stores_as_serving_would_build_it(
    source: PageSource, hot: StateStore, durable: DurableStore
) -> None:
    members = durable.member_ids(1_000)
    assert run(source, hot, durable).computed == len(members) > 15
    for member_id in members:
        value = durable.get("precomputed", [member_key(member_id)])[0]
        assert value is not None
        assert hot.get("precomputed", [member_key(member_id)]) == [value]
        assert position_of(value) == NOW_MS
        page = decode_page(value)
        state = MEMBER.unpack(durable.get("member", [member_key(member_id)])[0])
        context = job.PageContext(member_id, NOW_MS, job.page_seed(member_id, NOW_MS), "DE", "tv")
        inputs = job.PageInputs(state, source.catalogue, source.snapshot, source.model, context)
        assert page == build_page(inputs)
        assert page.rows


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(
    source: PageSource, hot: StateStore, durable: DurableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "CHUNK", 4)
    broken_off = job.precompute(source, hot, durable, clock_ms=lambda: NOW_MS, max_age_ms=HOUR_MS)
    assert [next(broken_off).computed for _ in range(2)] == [4, 8]
    again = run(source, hot, durable, NOW_MS + 1_000)
    assert again.left == 8
    assert again.members == len(durable.member_ids(1_000))


def test_a_page_is_computed_again_when_it_is_old_or_its_member_or_the_model_has_moved_on(
    source: PageSource, hot: StateStore, durable: DurableStore, settings: Settings
) -> None:
    everyone = run(source, hot, durable).computed
    assert run(source, hot, durable, NOW_MS + 1).computed == 0
    fold_members(durable, [Event("new", "play", "m1", START_MS + HOUR_MS, "t1")], position=10_000)
    assert run(source, hot, durable, NOW_MS + 2).computed == 1
    assert run(source, hot, durable, NOW_MS + 2 * HOUR_MS).computed == everyone
    engine, blobs = open_sql(settings), BlobStore(settings.path_of(settings.blobs_url))
    other = load_model(blobs, write_tiny_model(blobs, engine, TITLES, GENRES, seed=1))
    engine.dispose()
    changed = PageSource(source.catalogue, source.snapshot, other)
    assert run(changed, hot, durable, NOW_MS + 2 * HOUR_MS + 1).computed == everyone


def test_states_that_cannot_be_read_are_counted_and_passed_over(
    source: PageSource, hot: StateStore, durable: DurableStore
) -> None:
    bad = (1 << 40).to_bytes(8, "big") + b"not a state"
    durable.put("member", [StateEntry(b"m1", bad)])
    done = run(source, hot, durable)
    assert (done.unreadable, done.members) == (1, len(durable.member_ids(1_000)))
    assert "1 members with states that cannot be read" in report_line(done)


def test_with_the_hot_store_away_pages_are_in_the_durable_one_and_the_report_says_so(
    source: PageSource, hot: StateStore, durable: DurableStore
) -> None:
    class Away:
        def put(self, kind, entries):
            raise TryAgain("the hot store is away")

    done = run(source, Away(), durable)
    assert done.computed == len(durable.member_ids(1_000))
    assert "the hot store is away" in report_line(done)
    assert durable.get("precomputed", [b"m1"])[0] is not None


def test_only_the_most_recently_seen_members_are_done_under_a_limit(
    source: PageSource, hot: StateStore, durable: DurableStore
) -> None:
    assert run(source, hot, durable, limit=3).computed == 3
    recent = [member_key(member_id) for member_id in durable.member_ids(3)]
    assert None not in durable.get("precomputed", recent)


def test_the_job_runs_over_the_engines_of_the_settings(
    settings: Settings, source: PageSource, durable: DurableStore
) -> None:
    publish(settings)
    console = Console(quiet=True)
    done = run_precompute(settings, console, max_age_s=60, limit=1_000, clock_ms=lambda: NOW_MS)
    assert report_line(done) == f"{done.members} pages computed, 0 left as they were"
    assert done.members == len(durable.member_ids(1_000))


def test_without_a_champion_the_job_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match="marquee train"):
        run_precompute(Settings(state=tmp_path), Console(quiet=True), max_age_s=60, limit=10, clock_ms=lambda: NOW_MS)
