"""The benchmark runs on generated events and says what it measured."""

from __future__ import annotations

from load_tests.bench.fold import generated_sample, measure


def test_rates_are_those_of_the_fold_and_of_decoding() -> None:
    rates = measure(generated_sample(count=300), turns=1)

    assert rates.fold > 0
    assert rates.decode > 0


def test_generated_events_are_the_same_for_the_same_seed() -> None:
    assert generated_sample(50, seed=3).raw == generated_sample(50, seed=3).raw
