"""The exposure log: each member's meeting with a variant once an hour, whatever becomes of the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import metrics
from serving.experiments.allocation import Assignment
from serving.experiments.exposing import REPEAT_MS, ExposureLog
from serving.homepage.page_cache import CachedPage, PageKey
from serving.homepage.showing import Showing
from serving.homepage.spool import Spool
from serving.homepage.treatment import Treatment, defaults_key, is_on_pages, treatment_of
from streams.errors import TryAgain
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Appended, EventLog, Message
from streams.experiments.definition import Definition, Patch, Variant
from streams.impressions import Exposure, decode_exposure
from streams.partitioner import partition_for
from streams.topics import EXPOSURES
from tests.serving.platform import small_settings

NOW_MS = 1_700_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = open_event_log(small_settings(tmp_path))
    yield log
    log.close()


def treated(*experiments: str, forced: str = "") -> Treatment:
    assignment = Assignment(dict.fromkeys(experiments, "b"), frozenset({forced} - {""}), Patch(), "key")
    return treatment_of(assignment, on_pages=experiments)


def page_of(member_id: str, treatment: Treatment, lacking: str | None = None) -> CachedPage:
    return CachedPage(
        PageKey(member_id, "NL", "tv", treatment.key),
        b"",
        computed_at_ms=NOW_MS,
        feature_position=0,
        feature_time_ms=0,
        model_version="m",
        version=1,
        partition=0,
        seed=1,
        treatment=treatment,
        lacking=lacking,
    )


def shown(page: CachedPage, at_ms: int = NOW_MS, step: str = "fresh") -> Showing:
    return (b"p%d" % at_ms, at_ms, step, None, page, None)


def logged(log: EventLog) -> list[Exposure]:
    return [
        decode_exposure(record.value)
        for partition in range(log.partition_count(EXPOSURES))
        for record in log.read(EXPOSURES, partition, 0, 100_000)
    ]


def told(log: EventLog, folder: Path, *showings: Showing, **options: Any) -> list[Exposure]:
    """Return what is in the log after a process has noted showings, in moments of one each, and ended."""
    exposures = ExposureLog(log, Spool(folder / "spool"), 1_000, linger_s=0.01, **options)
    exposures.start()
    for showing in showings:
        exposures.note([showing])
    exposures.close(5)
    return logged(log)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.01)


def test_a_member_is_told_of_once_with_all_that_analysis_asks_for(log: EventLog, tmp_path: Path) -> None:
    page = page_of("ann", treated("exp", "other", forced="other"))
    found = told(log, tmp_path, *(shown(page, NOW_MS + n) for n in range(50)))
    exp = Exposure("exp", "b", "ann", f"p{NOW_MS}", NOW_MS, True, "fresh", "NL", "tv", False, "page")
    assert found == [exp, Exposure("other", "b", "ann", f"p{NOW_MS}", NOW_MS, True, "fresh", "NL", "tv", True, "page")]
    partition = partition_for(b"ann", log.partition_count(EXPOSURES))
    assert [record.key for record in log.read(EXPOSURES, partition, 0, 10)] == [b"ann", b"ann"]


def test_another_page_of_the_member_says_nothing_new_before_an_hour_is_over(log: EventLog, tmp_path: Path) -> None:
    treatment = treated("exp")
    pages = [page_of("ann", treatment) for _ in range(3)]
    times = (NOW_MS, NOW_MS + REPEAT_MS - 1, NOW_MS + REPEAT_MS)
    found = told(log, tmp_path, *(shown(page, at_ms) for page, at_ms in zip(pages, times, strict=True)))
    assert [(one.exposed_at_ms, one.first) for one in found] == [(NOW_MS, True), (NOW_MS + REPEAT_MS, False)]


def test_what_is_told_is_counted_by_experiment(log: EventLog, tmp_path: Path) -> None:
    before = [metrics.EXPOSURES_TOLD.labels(name)._value.get() for name in ("counted", "beside")]
    pages = [page_of("ann", treated("counted", "beside")), page_of("ben", treated("counted"))]
    found = told(log, tmp_path, *(shown(page, NOW_MS + n) for n in range(3) for page in pages))
    after = [metrics.EXPOSURES_TOLD.labels(name)._value.get() for name in ("counted", "beside")]
    assert [new - old for old, new in zip(before, after, strict=True)] == [2, 1]
    assert len(found) == 3


def test_one_page_that_is_shown_for_hours_is_told_of_each_hour(log: EventLog, tmp_path: Path) -> None:
    page = page_of("ann", treated("exp"))
    found = told(log, tmp_path, *(shown(page, NOW_MS + n * REPEAT_MS // 4) for n in range(9)))
    assert [one.exposed_at_ms - NOW_MS for one in found] == [0, REPEAT_MS, 2 * REPEAT_MS]


@pytest.mark.parametrize("step", ["stale", "precomputed", "popular"])
def test_a_lesser_page_is_marked_and_does_not_stand_for_a_whole_one(log: EventLog, tmp_path: Path, step: str) -> None:
    page = page_of("ann", treated("exp"))
    found = told(log, tmp_path, shown(page, NOW_MS, step), shown(page, NOW_MS + 1, step), shown(page, NOW_MS + 2))
    assert [(one.step, one.exposed_at_ms - NOW_MS) for one in found] == [(step, 0), ("fresh", 2)]


def test_a_page_made_by_the_champion_in_the_stead_of_the_variants_model_is_marked(
    log: EventLog, tmp_path: Path
) -> None:
    found = told(log, tmp_path, shown(page_of("ann", treated("exp"), "refused")), shown(page_of("ann", treated("exp"))))
    assert [one.step for one in found] == ["fallback", "fresh"]


def test_members_of_no_experiment_are_not_told_of(log: EventLog, tmp_path: Path) -> None:
    assert told(log, tmp_path, shown(page_of("ann", treated()))) == []


def test_memory_is_bounded_and_what_it_forgets_is_told_again(log: EventLog, tmp_path: Path) -> None:
    exposures = ExposureLog(log, Spool(tmp_path / "spool"), 1_000, remembered=10)
    treatment = treated("exp")
    for member in (*range(30), 0):
        exposures.note([shown(page_of(f"m{member}", treatment))])
    assert len(exposures._told_ms) + len(exposures._told_earlier_ms) <= 20
    exposures.start()
    exposures.close(5)
    assert len(logged(log)) == 31


class Ailing:
    """A log that fails while `error` is set."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.error: Exception | None = TryAgain("away")

    def append(self, topic: str, messages: list[Message]) -> list[Appended]:
        if self.error is not None:
            raise self.error
        return self.log.append(topic, messages)


def test_while_the_log_is_away_exposures_are_spooled_and_the_next_process_appends_them(
    log: EventLog, tmp_path: Path
) -> None:
    pages = [page_of(f"m{n}", treated("exp")) for n in range(40)]
    ailing: Any = Ailing(log)
    exposures = ExposureLog(ailing, Spool(tmp_path / "spool"), 1_000, linger_s=0.01)
    exposures.start()
    exposures.note(map(shown, pages))
    until(lambda: exposures.problem is not None)
    exposures.close(5)
    assert logged(log) == []
    assert sorted(one.member_id for one in told(log, tmp_path)) == sorted(f"m{n}" for n in range(40))
    assert Spool(tmp_path / "spool").waiting_bytes == 0


def test_an_exposure_that_found_no_room_is_told_when_there_is_some(log: EventLog, tmp_path: Path) -> None:
    exposures = ExposureLog(log, Spool(tmp_path / "spool"), 2, linger_s=0.01)
    pages = [page_of(f"m{n}", treated("exp")) for n in range(3)]
    exposures.note(map(shown, pages))
    exposures.start()
    until(lambda: len(logged(log)) == 2)
    exposures.note([shown(page, NOW_MS + 1) for page in pages])
    exposures.close(5)
    assert sorted((one.member_id, one.exposed_at_ms - NOW_MS) for one in logged(log)) == [
        ("m0", 0),
        ("m1", 0),
        ("m2", 1),
    ]


def test_apps_say_what_their_members_met(log: EventLog, tmp_path: Path) -> None:
    exposures = ExposureLog(log, Spool(tmp_path / "spool"), 10)
    said = Exposure("exp", "b", "ann", "", NOW_MS, False, source="app")
    assert exposures.put(said)
    assert exposures.put(said)
    exposures.start()
    exposures.close(5)
    assert logged(log) == [Exposure("exp", "b", "ann", "", NOW_MS, True, source="app")]


def variants(*pairs: tuple[Patch, Any]) -> Definition:
    arms = tuple(Variant(f"v{n}", 0.5, patch, value) for n, (patch, value) in enumerate(pairs))
    return Definition("exp", "", "", arms, (), "", 0.1)


def test_a_tester_who_becomes_a_member_like_others_is_told_of_at_once(log: EventLog, tmp_path: Path) -> None:
    tester, member = treated("exp", forced="exp"), treated("exp")
    assert tester.key != member.key, "a cached page would go on saying that it was forced"
    showings = shown(page_of("ann", tester)), shown(page_of("ann", member), NOW_MS + 1)
    assert [(each.forced, each.first) for each in told(log, tmp_path, *showings)] == [(True, True), (False, True)]


def test_pages_show_experiments_that_change_them_and_those_that_change_nothing() -> None:
    assert is_on_pages(variants((Patch(), None), (Patch(model="candidate"), None)))
    assert is_on_pages(variants((Patch(), "old"), (Patch(model="candidate"), "new")))
    assert is_on_pages(variants((Patch(), None), (Patch(), None)))
    assert not is_on_pages(variants((Patch(), "red"), (Patch(), "blue")))


def test_pages_under_other_defaults_have_other_names() -> None:
    keys = {defaults_key(patch) for patch in (Patch(), Patch(model="a"), Patch(model="b"), Patch(page_ttl_s=1.0))}
    assert len(keys) == 4
    assert "" in keys
