from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marquee.restart_policy import RestartPolicy


@given(st.integers(1, 10_000))
def test_waits_grow_up_to_their_bound(deaths: int) -> None:
    policy = RestartPolicy()
    assert policy.first_s <= policy.wait_s(deaths) <= policy.wait_s(deaths + 1) <= policy.max_s


def test_quick_deaths_add_up_and_a_long_life_starts_afresh() -> None:
    policy = RestartPolicy(healthy_s=30)
    assert policy.deaths_after(3, lived_s=1.0) == 4
    assert policy.deaths_after(3, lived_s=30.0) == 1
