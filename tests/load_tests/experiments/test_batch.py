"""The vectorised comparison and what the methods make of it, against the platform's own on exact moments."""

from dataclasses import fields

import numpy as np
import pytest

from load_tests.experiments.batch import Compared, compare, sums_of
from load_tests.experiments.cuped import moments_of
from load_tests.experiments.populations import Population, populations
from load_tests.experiments.trials import Setting, judged
from serving.experiments.analysis.comparison import Comparison
from serving.experiments.analysis.comparison import compare as exact_compare
from serving.experiments.analysis.confidence_sequence import members_tuned_for, sequential
from serving.experiments.analysis.effect import Effect
from serving.experiments.analysis.group_sequential import counted
from serving.experiments.analysis.guardrail import harm_of
from serving.experiments.analysis.planned_look import planned_look
from serving.experiments.analysis.welch import welch
from streams.experiments.definition import Plan
from streams.experiments.moments import SCALE, Moments

PLAN = Plan(min_members=400)
SETTING = Setting(members=2_000, batch=200, plan=PLAN, share=0.3)
Numbers = tuple[np.ndarray, ...]


def drawn(population: Population, lift: float, simulations: int = 12) -> tuple[Numbers, Numbers]:
    """Numbers of both arms in millionths, as moments keep them."""
    rng = np.random.default_rng(2)
    batches = SETTING.members // SETTING.batch
    arms = [population.draw(rng, (simulations, batches, size)) for size in (140, 60)]
    arms[1] = (arms[1][0] * (1.0 + lift), *arms[1][1:])
    control, treatment = (tuple(np.round(each, 6) for each in arm) for arm in arms)
    return control, treatment


def moments(arm: Numbers, simulation: int, batches: int) -> Moments:
    flat = [each[simulation, :batches].ravel() for each in arm]
    one = np.ones_like(flat[0])
    y, d, x, w = flat if len(flat) == 4 else (flat[0], one, flat[1], one)
    return moments_of(np.round(np.array([y, d, x, w]) * SCALE).astype(np.int64))


@pytest.mark.parametrize("cuped", [False, True])
@pytest.mark.parametrize("name", ["normal", "Bernoulli 1 %", "lognormal", "ratio"])
def test_the_batch_comparison_is_that_of_the_platform(name: str, cuped: bool) -> None:
    control, treatment = drawn(populations()[name], 0.1, simulations=3)
    found = compare(sums_of(control), sums_of(treatment), cuped=cuped)
    for simulation in range(3):
        for look in (4, 9):
            exact = exact_compare(
                moments(control, simulation, look + 1), moments(treatment, simulation, look + 1), cuped=cuped
            )
            assert isinstance(exact, Comparison)
            for field in fields(Compared):
                if not cuped or field.name not in {"control", "treatment", "control_variance", "treatment_variance"}:
                    mine = getattr(found, field.name)[simulation, look]
                    assert mine == pytest.approx(getattr(exact, field.name), rel=1e-8, abs=1e-12), field.name


@pytest.mark.parametrize("name", ["normal", "Bernoulli 1 %", "lognormal", "ratio"])
def test_simulations_judge_as_the_platform_does(name: str) -> None:
    population = populations()[name]
    control, treatment = drawn(population, {"normal": 0.06, "lognormal": 0.8}.get(name, 0.3))
    flags = judged(SETTING, population, sums_of(control), sums_of(treatment))
    seen = set()
    for simulation in range(12):
        expected = scalar_judgement(control, treatment, simulation)
        assert {key: bool(flags[f"found {key}"][simulation]) for key in expected} == expected
        seen |= set(expected.items())
    assert len(seen) > len(expected), "some of the methods found some of the effects"


def scalar_judgement(control: Numbers, treatment: Numbers, simulation: int) -> dict[str, bool]:
    """Look after each batch with the functions that serve people."""
    looks = range(2, 11)
    plain, cuped = (
        [
            exact_compare(moments(control, simulation, look), moments(treatment, simulation, look), cuped=cuped)
            for look in looks
        ]
        for cuped in (False, True)
    )
    tuned = members_tuned_for(PLAN)

    def some(effects: list[Effect]) -> bool:
        return any(effect.found for effect in effects)

    places = counted([200 * look for look in looks], SETTING.members, PLAN.looks)
    fractions = [200 * looks[place] / SETTING.members for place in places]
    return {
        "sequential": some([sequential(found, PLAN.alpha, tuned) for found in plain]),
        "sequential, CUPED": some([sequential(found, PLAN.alpha, tuned) for found in cuped]),
        "guardrail": any(harm_of(found, "increase", 0.0, PLAN.alpha, tuned).harmful for found in plain),
        "fixed, peeked": some([welch(found, PLAN.alpha) for found in plain]),
        "fixed, once": welch(plain[-1], PLAN.alpha).found,
        "group sequential": some(
            [
                planned_look(plain[place], fractions[: number + 1], PLAN.alpha, PLAN.spending)
                for number, place in enumerate(places)
            ]
        ),
    }
