from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from serving.homepage.page_cache import CachedPage, Origin, PageCache, PageKey, ttl_ms
from serving.pages.page import Page

TTL_S = 900.0
STALE_MAX_S = 3_600.0


def cache_of(entries: int = 100, size: int = 1 << 20) -> PageCache:
    return PageCache(entries, size, TTL_S, 0.1, STALE_MAX_S)


def page_of(member: str, at_ms: int = 0, version: int = 1, model: str | None = "m1", rows: bytes = b"[]") -> CachedPage:
    page = Page(member, [], at_ms, model, version, 0, None)
    return CachedPage.computed(
        PageKey(member, "", ""), Origin(page, None, None, ""), rows=rows, version=version, partition=0, seed=1
    )


def key_of(member: str) -> PageKey:
    return PageKey(member, "", "")


def test_what_was_put_is_found_until_it_is_dropped() -> None:
    cache = cache_of()
    entry = page_of("ann")
    cache.put(entry, 0)
    assert cache.get(key_of("ann")) is entry
    assert cache.get(key_of("ben")) is None
    assert cache.get(PageKey("ann", "NL", "")) is None


def test_a_page_expires_after_its_ttl_from_when_it_was_computed() -> None:
    cache = cache_of()
    cache.put(entry := page_of("ann", at_ms=5_000), 6_000)
    assert entry.expires_at_ms == 5_000 + ttl_ms(key_of("ann"), TTL_S, 0.1)


@given(st.text(min_size=1), st.floats(1, 1e5), st.floats(0, 0.99))
def test_the_ttl_of_a_key_is_the_same_each_time_and_within_the_jitter(
    member: str, base_s: float, jitter: float
) -> None:
    ttl = ttl_ms(key_of(member), base_s, jitter)
    assert ttl == ttl_ms(key_of(member), base_s, jitter)
    assert base_s * 1000 * (1 - jitter) - 1 <= ttl <= base_s * 1000


def test_the_ttls_of_many_keys_are_spread() -> None:
    ttls = [ttl_ms(key_of(f"member-{n}"), TTL_S, 0.1) for n in range(1_000)]
    assert min(ttls) < 815_000
    assert max(ttls) > 895_000
    assert len(set(ttls)) > 900


def test_the_least_recently_used_page_goes_first() -> None:
    cache = cache_of(entries=2)
    for member in ("ann", "ben"):
        cache.put(page_of(member), 0)
    cache.touch(key_of("ann"))
    cache.put(page_of("cleo"), 0)
    assert cache.get(key_of("ben")) is None
    assert cache.get(key_of("ann")) is not None
    assert cache.evicted == 1


def test_bytes_are_bounded_too() -> None:
    cache = cache_of(size=10_000)
    for number in range(10):
        cache.put(page_of(f"m{number}", rows=b"x" * 2_000), 0)
    assert cache.bytes <= 10_000
    assert 1 <= len(cache) <= 4


def test_a_page_larger_than_the_cache_is_not_kept_and_drops_nothing_else() -> None:
    cache = cache_of(size=10_000)
    cache.put(page_of("ann"), 0)
    cache.put(page_of("ben", rows=b"x" * 20_000), 0)
    assert cache.get(key_of("ben")) is None
    assert cache.get(key_of("ann")) is not None


def test_an_earlier_state_does_not_replace_a_later_one_unless_the_model_changed() -> None:
    cache = cache_of()
    cache.put(page_of("ann", version=5), 0)
    cache.put(page_of("ann", version=4), 0)
    assert cache.get(key_of("ann")).version == 5  # type: ignore[union-attr]  # it was put above
    cache.put(page_of("ann", version=4, model="m2"), 0)
    assert cache.get(key_of("ann")).version == 4  # type: ignore[union-attr]  # likewise


def test_pages_too_old_for_any_step_are_swept_a_few_at_a_time() -> None:
    cache = cache_of()
    for number in range(20):
        cache.put(page_of(f"old{number}"), 0)
    now_ms = int(STALE_MAX_S * 1000) + 1
    cache.put(page_of("ann", at_ms=now_ms), now_ms)
    assert len(cache) == 13
    cache.put(page_of("ben", at_ms=now_ms), now_ms)
    cache.put(page_of("cleo", at_ms=now_ms), now_ms)
    assert len(cache) == 3


def test_the_pages_of_a_member_made_from_earlier_states_can_be_discarded() -> None:
    cache = cache_of()
    for country, device in itertools.product(("NL", "DE"), ("tv", "")):
        page = Page("ann", [], 0, None, 0, 0, None)
        key = PageKey("ann", country, device)
        cache.put(CachedPage.computed(key, Origin(page, None, None, ""), rows=b"[]", version=4, partition=0, seed=1), 0)
    cache.put(page_of("ann", version=5), 0)
    cache.put(page_of("ben"), 0)
    assert cache.discard_older("ann", 5) == 4
    assert len(cache) == 2
    assert cache.bytes == sum(entry.size for key in ("ann", "ben") if (entry := cache.get(key_of(key))))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3_000)), max_size=60))
def test_the_count_of_bytes_is_what_the_entries_take(puts: list[tuple[int, int]]) -> None:
    cache = cache_of(entries=5, size=12_000)
    for now_ms, (member, size) in enumerate(puts):
        cache.put(page_of(f"m{member}", at_ms=now_ms, version=now_ms, rows=b"x" * size), now_ms)
    found = [entry for member in range(10) if (entry := cache.get(key_of(f"m{member}"))) is not None]
    assert cache.bytes == sum(entry.size for entry in found) <= 12_000
    assert len(cache) == len(found) <= 5
