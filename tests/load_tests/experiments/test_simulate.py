"""Small runs of what `make eval` measures: what holds however often one looks, and what does not."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from load_tests.experiments.coverage import theories
from load_tests.experiments.false_positives import Rate
from load_tests.experiments.populations import populations
from load_tests.experiments.simulate import GROWING, RATIOS, Case, run_case, simulate
from load_tests.experiments.trials import Setting

RUNS = 200
MOST = 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5
SMALL = Setting(members=10_000)


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("name", ["normal", "Bernoulli 1 %", "lognormal"])
def test_looking_after_every_batch_finds_what_is_not_there_no_more_than_alpha_allows(name: str, share: float) -> None:
    counts = run_case(Case(name, Setting(members=10_000, share=share)), None, RUNS, (1, 1))
    for method in ("sequential", "sequential, CUPED", "guardrail", "group sequential"):
        assert counts[f"found {method}"] / RUNS <= MOST, method
    assert counts["found fixed, peeked"] / RUNS > 0.15, "what goes wrong"
    assert 0.01 < counts["found fixed, once"] / RUNS < 0.12


def test_looking_at_sizes_and_at_numbers_that_grow_is_as_safe() -> None:
    sizes = run_case(Case(RATIOS, SMALL), None, RUNS, (1, 2))
    assert sizes["found sample ratio"] / RUNS <= MOST
    assert sizes["found chi-square, peeked"] / RUNS > 0.15
    assert sizes["found loss"] / RUNS > 0.5, "every tenth member of an arm that is lost is noticed"
    grown = run_case(Case(GROWING, SMALL), None, 2_000, (1, 3))
    for name in ("sequential, growing", "sequential, growing, tenfold"):
        assert grown[f"found {name}"] / 2_000 <= 0.05 + 3 * (0.05 * 0.95 / 2_000) ** 0.5


@pytest.mark.parametrize("name", ["normal", "ratio"])
def test_intervals_hold_the_truth_and_power_is_that_of_the_design(name: str) -> None:
    population = populations()[name]
    setting = Setting(lift=2 * population.lift, members=10_000)
    counts = run_case(Case(name, setting), None, RUNS, (1, 4))
    for what in ("sequential", "sequential, relative", "sequential, CUPED", "group sequential", "fixed, once"):
        assert counts[f"covered {what}"] / RUNS >= 1 - MOST, what
    for method, theory in theories(setting, population, np.random.default_rng(1)).items():
        error = (theory * (1 - theory) / RUNS) ** 0.5
        assert counts[f"found {method}"] / RUNS == pytest.approx(theory, abs=4 * error + 0.02), method


def test_a_seed_gives_the_same_counts_again_and_another_one_others() -> None:
    case = Case("lognormal", Setting(members=2_000))
    assert run_case(case, None, 20, (7,)) == run_case(case, None, 20, (7,))
    assert run_case(case, None, 60, (7,)) != run_case(case, None, 60, (8,))


def test_what_was_never_found_is_counted_as_zero() -> None:
    case = Case("Bernoulli 1 %", Setting(members=2_000))
    (counts,) = simulate(Console(file=StringIO()), [case], 4, 3, 1, None)
    assert counts["found sequential"] == 0
    assert "found sequential" in counts


def test_a_rate_is_kept_unless_chance_cannot_explain_it_and_was_promised() -> None:
    assert Rate("any", "sequential", 522, 10_000, 0.05).is_kept
    assert not Rate("any", "sequential", 600, 10_000, 0.05).is_kept
    assert Rate("any", "fixed, peeked", 3_000, 10_000, 0.05).is_kept
