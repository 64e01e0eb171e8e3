from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from serving.pages.ladder import PRECOMPUTED_MAX_MS, descend, staleness

STALE_MAX_MS = 6 * 3_600_000
ages = st.none() | st.integers(0, 30 * 86_400_000)


@dataclass(frozen=True)
class Cached:
    expires_at_ms: int = 1_000
    version: int = 7
    model_version: str | None = "m1"


def test_a_page_within_its_ttl_at_the_members_version_and_of_the_champion_is_fresh() -> None:
    assert staleness(Cached(), 999, 7, "m1") is None


def test_a_page_at_the_end_of_its_ttl_has_expired() -> None:
    assert staleness(Cached(), 1_000, 7, "m1") == "expired"


def test_an_event_after_the_page_supersedes_it() -> None:
    assert staleness(Cached(), 0, 8, "m1") == "superseded"


def test_a_page_of_a_replaced_champion_is_not_fresh() -> None:
    assert staleness(Cached(), 0, 7, "m2") == "replaced-model"
    assert staleness(Cached(), 0, 7, None) == "replaced-model"


def test_a_version_that_nobody_can_tell_or_that_went_back_leaves_the_page_unverified() -> None:
    assert staleness(Cached(), 0, None, "m1") == "unverified"
    assert staleness(Cached(), 0, 6, "m1") == "unverified"


def test_the_page_of_a_member_without_events_is_fresh_until_the_first_event() -> None:
    assert staleness(Cached(version=0), 0, 0, "m1") is None
    assert staleness(Cached(version=0), 0, 1, "m1") == "superseded"


def test_the_best_step_that_can_be_had_is_taken() -> None:
    assert descend("why", 5, 5, STALE_MAX_MS, 10).step == "stale"
    assert descend("why", None, 5, STALE_MAX_MS, 10).step == "precomputed"
    assert descend("why", None, None, STALE_MAX_MS, 10).step == "popular"


@given(ages, ages, st.integers(0, 5))
def test_every_step_below_the_top_names_the_failure_first(
    cached_age_ms: int | None, precomputed_age_ms: int | None, titles: int
) -> None:
    decision = descend("the failure", cached_age_ms, precomputed_age_ms, STALE_MAX_MS, titles)
    assert decision.step != "fresh"
    assert decision.degraded is not None
    assert decision.degraded.startswith("the failure")


@given(ages, ages)
def test_nothing_older_than_its_bound_is_served(cached_age_ms: int | None, precomputed_age_ms: int | None) -> None:
    step = descend("why", cached_age_ms, precomputed_age_ms, STALE_MAX_MS, 10).step
    assert (step == "stale") == (cached_age_ms is not None and cached_age_ms <= STALE_MAX_MS)
    if step == "precomputed":
        assert precomputed_age_ms is not None
        assert precomputed_age_ms <= PRECOMPUTED_MAX_MS


def test_pages_that_were_too_old_and_an_empty_catalogue_are_among_the_reasons() -> None:
    degraded = descend("why", STALE_MAX_MS + 1, PRECOMPUTED_MAX_MS + 1, STALE_MAX_MS, 0).degraded
    assert degraded == (
        "why; the cached page is older than 21600 s; the precomputed page is older than 7 days; no titles are known"
    )
