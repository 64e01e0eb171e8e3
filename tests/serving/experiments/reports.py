"""Reports of an imagined experiment, with chosen results."""

from __future__ import annotations

from typing import Any

from serving.experiments.analysis.effect import Effect
from serving.experiments.analysis.guardrail import Harm
from serving.experiments.report import (
    EffectResult,
    FutilityResult,
    GuardrailResult,
    GuardrailState,
    MetricResult,
    Outcome,
    Report,
    SrmResult,
)
from streams.experiments.definition import Definition, Guardrail, Plan, Variant
from streams.experiments.metric import Measure, Metric

DAY_MS = 86_400_000
START_MS = 1_700_000_000_000
PLAYS = Metric("plays", "count", Measure(("play",)))
SKIPS = Metric("skips", "count", Measure(("skip",)), direction="decrease")


def definition_of(*treatments: str, **changes: Any) -> Definition:
    """Return a definition with these treatments beside the control, `b` if none is named."""
    keys = ("a", *(treatments or ("b",)))
    values: dict[str, Any] = {
        "id": "rows",
        "hypothesis": "More rows make members play more.",
        "owner": "ann",
        "variants": tuple(Variant(key, 1 / len(keys)) for key in keys),
        "metrics": (PLAYS, SKIPS),
        "primary": "plays",
        "mde": 0.02,
        "guardrails": (Guardrail("skips", 0.01),),
        "plan": Plan(),
    }
    return Definition(**(values | changes))


def effect_result(variant: str, outcome: Outcome, difference: float = 0.1, metric: str = "plays") -> EffectResult:
    effect = Effect("sequential", 0.05, 5_000, 5_000, 1.0, 1.0 + difference, difference)
    return EffectResult(metric, variant, outcome, effect, START_MS, sentence=f"{variant} is {outcome} in {metric}.")


def guardrail_result(variant: str, harm: GuardrailState) -> GuardrailResult:
    effect = Effect("sequential", 0.05, 5_000, 5_000)
    bounds = Harm(0.05, 0.01, 5_000, 5_000)
    return GuardrailResult("skips", variant, harm, 0.01, True, bounds, effect, f"Harm of {variant} to skips: {harm}.")


def report_of(
    effects: tuple[EffectResult, ...] = (),
    guardrails: tuple[GuardrailResult, ...] = (),
    futile: tuple[str, ...] = (),
    srm: bool = False,
    **changes: Any,
) -> Report:
    """Return a report with these results, of 10,000 members and a start at START_MS."""
    ratio = SrmResult(srm, 1e-6 if srm else 1.0, 0.001, {"a": 5_000, "b": 5_000}, {"a": 0.5, "b": 0.5}, 1.0, "Shares.")
    values: dict[str, Any] = {
        "experiment": "rows",
        "status": "running",
        "revision": 3,
        "at_ms": START_MS,
        "primary": "plays",
        "method": "sequential",
        "members": 10_000,
        "srm": ratio,
        "metrics": (MetricResult("plays", "primary", "count", "increase", (), effects),),
        "guardrails": guardrails,
        "futility": tuple(FutilityResult(variant, 0.01, True, f"{variant} is futile.") for variant in futile),
        "started_at_ms": START_MS,
    }
    return Report(**(values | changes))
