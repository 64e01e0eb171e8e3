from __future__ import annotations

from serving.homepage.circuit_breaker import BreakerPolicy, CircuitBreaker

POLICY = BreakerPolicy(failures=3, first_open_s=1.0, max_open_s=4.0)


def opened_at(now_s: float) -> CircuitBreaker:
    breaker = CircuitBreaker(POLICY)
    for _ in range(3):
        assert breaker.allows(now_s)
        breaker.failed(now_s, "locked")
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = CircuitBreaker(POLICY)
    for _ in range(2):
        breaker.failed(0.0, "locked")
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0.0, "locked")
    assert breaker.allows(0.0)
    breaker.failed(0.0, "locked again")
    assert not breaker.allows(0.0)
    assert breaker.is_open
    assert breaker.reason == "locked again"


def test_one_call_is_let_through_at_the_end_of_the_waiting_time() -> None:
    breaker = opened_at(0.0)
    assert not breaker.allows(0.99)
    assert breaker.allows(1.0)
    assert not breaker.allows(1.0)


def test_each_failed_try_doubles_the_waiting_time_up_to_its_bound() -> None:
    breaker, now_s, waits = opened_at(0.0), 0.0, []
    for _ in range(4):
        wait_s = next(step / 4 for step in range(1, 100) if breaker.allows(now_s + step / 4))
        waits.append(wait_s)
        now_s += wait_s
        breaker.failed(now_s, "locked")
    assert waits == [1.0, 2.0, 4.0, 4.0]


def test_a_success_closes_it() -> None:
    breaker = opened_at(0.0)
    assert breaker.allows(1.0)
    breaker.succeeded()
    assert breaker.allows(1.0)
    assert not breaker.is_open
